"""A run in Weights & Biases, on its server or offline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnn_registry.errors import UsageError
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note

from .tracker import PROJECT, figures_of, results_of, tracked_settings


class WandB:
    """The configuration, history, summary and artifact of one W&B run, beside any that the user has open.

    W&B's own means decide where it is sent: ``wandb login``, ``WANDB_PROJECT``, ``WANDB_MODE``, ``WANDB_DIR`` and the
    rest of its environment variables.
    """

    def __init__(self) -> None:
        self.id = ""

    @staticmethod
    def check() -> None:
        """Refuse to begin without credentials, for which W&B would ask in the middle.

        Raises:
            UsageError: there are none, and W&B is not offline.
        """
        import wandb

        if wandb.setup().settings.mode in ("offline", "disabled", "dryrun"):
            return
        if not wandb.login(prompt=False, verify=False):
            raise UsageError(
                "Weights & Biases has no credentials here. Run 'wandb login', set WANDB_API_KEY, or keep the run on "
                "this machine with WANDB_MODE=offline."
            )

    def begin(self, run: Run, known: str) -> bool:
        """Begin a run with the configuration, or continue the known one."""
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=known or None,
            name=run.path.name,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
        self.id = self._run.id
        config: Any = self._run.config  # W&B leaves its callers untyped
        config.update(tracked_settings(run.record), allow_val_change=True)
        if not self._run.offline:
            note(f"Weights & Biases follows at {self._run.url}")
        return not (known and (self._run.offline or self._run.resumed))

    def epoch(self, row: Epoch) -> None:
        """Log the figures, with the epoch as the step, counted from 1."""
        self._run.log(figures_of(row), step=row.epoch)

    def end(self, run: Run, files: Sequence[Path]) -> None:
        """Log the result and an artifact of the files, and wait until everything was sent."""
        import wandb

        self._run.summary.update(results_of(run.record))
        if files:
            artifact = wandb.Artifact(f"run-{self.id}", type="model", description=run.path.name)
            for file in files:
                artifact.add_file(str(file))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=0 if run.record.status in ENDED else 1)
