"""A chat model of our own, small enough to train on a laptop, to try servers of language models with: trained here on the oracle's
plans, exported to GGUF, and run by llama.cpp's server as any other model. It is no planner to be proud of; `embedded` is.
"""

from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "weights" / "chat.gguf"
