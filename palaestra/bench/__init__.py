"""What is measured, and how: fixed seeds, a warm-up, repetitions in turns, medians with their spread.

`palaestra bench <name>` runs one module's `bench`; `palaestra bench all` runs them one after the other and draws the plots.
"""
