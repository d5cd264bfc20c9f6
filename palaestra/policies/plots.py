"""How all plots look. matplotlib is optional, and draws into files alone."""

from typing import Any

from palaestra.sim.errors import MissingExtraError


def axes(what: str, rows: int, columns: int, width: float, height: float) -> tuple[Any, Any]:
    """A figure of so many inches and its axes [rows, columns]. Raises MissingExtraError, for `what`, where matplotlib is not there."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError(what, "matplotlib", "bench") from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"})
    return plt.subplots(rows, columns, figsize=(width, height), dpi=140, layout="constrained", squeeze=False)


def save(figure: Any, path: Any) -> None:
    """Write the figure, and forget it."""
    import matplotlib.pyplot as plt

    figure.savefig(path)
    plt.close(figure)
