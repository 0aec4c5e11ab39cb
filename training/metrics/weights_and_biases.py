"""The figures of a run at Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

RUN_ID_NAME = "wandb_run_id.txt"


class WandbRun:
    """One run of a project, also when it is resumed: its id is kept in the run folder.

    Weights & Biases keeps what it has: of the steps that a resumed run makes again it ignores the
    second, equal record. `WANDB_MODE=offline` writes to the run folder and needs no network.
    """

    def __init__(self, project: str, output: Path, config: Mapping[str, Any]) -> None:
        """Raises ValueError where wandb is not installed."""
        try:
            import wandb
        except ImportError as error:
            raise ValueError(
                f"wandb_project is '{project}', which needs wandb; install zoo[wandb]."
            ) from error
        id_file = output / RUN_ID_NAME
        self._run: Any = wandb.init(
            project=project,
            name=output.name,
            id=id_file.read_text().strip() if id_file.exists() else None,
            resume="allow",
            dir=output,
            config=dict(config),
        )
        id_file.write_text(f"{self._run.id}\n")

    def append(self, record: Mapping[str, float]) -> None:
        """Send the figures of one step."""
        self._run.log(dict(record), step=int(record["step"]))

    def close(self) -> None:
        """Send what is left and end the session."""
        self._run.finish()
