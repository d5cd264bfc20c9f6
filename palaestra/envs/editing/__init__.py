"""Tasks changed by hand: `changes` to the data, `editor` without a window, and the window of `palaestra edit`."""
