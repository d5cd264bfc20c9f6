"""Training runs on Weights & Biases, for those who want it. Needs the extra `wandb`; WANDB_MODE=offline keeps all on this machine."""

import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from palaestra.policies.runs import RunConfig
from palaestra.sim.errors import MissingExtraError


class WandbRun:
    """A context manager whose `report` is what `Run.train` calls. A run that is resumed goes on in the same place."""

    def __init__(self, config: RunConfig, folder: Path, project: str = "palaestra"):
        try:
            import wandb
        except ImportError:
            raise MissingExtraError("--wandb", "wandb", "wandb") from None
        folder.mkdir(parents=True, exist_ok=True)
        own = folder / "wandb-id"
        name = own.read_text() if own.exists() else secrets.token_hex(4)
        own.write_text(name)
        self._run = wandb.init(project=project, name=folder.name, id=name, resume="allow", dir=str(folder), config=config.as_dict())

    def report(self, row: dict[str, float]) -> None:
        """A row of metrics at its environment step."""
        self._run.log(row, step=int(row["steps"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._run.finish(exit_code=0 if kind is None else 1)
