"""A progress bar for training: steps/s, return, success and the time that is left."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class TrainingBar:
    """A context manager whose `report` is what `Run.train` calls."""

    def __init__(self, title: str, steps: int, done: int = 0):
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._task = self._progress.add_task(title, total=steps, completed=done, figures="compiling…")
        self._plain = not self._progress.console.is_terminal

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def report(self, row: dict[str, float]) -> None:
        figures = f"{row['steps_per_second']:,.0f} steps/s  return {row.get('return', float('nan')):.2f}"
        if "success" in row:
            figures += f"  success {row['success']:.1%}"
        self._progress.update(self._task, completed=row["steps"], figures=figures)
        if self._plain:  # a log file: a line a row
            self._progress.console.print(f"{row['steps']:>12,.0f} steps  {figures}", highlight=False)
