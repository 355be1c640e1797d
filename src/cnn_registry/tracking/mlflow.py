"""A run in MLflow, on its server or in a local file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.errors import UsageError
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run
from cnn_registry.text import one_line, shorten, without_credentials

from .tracker import PROJECT, figures_of, results_of, tracked_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST = 500
"""Letters of a parameter's value that every MLflow server takes."""

AT_ONCE = 100
"""Parameters that one request may have."""

TIMEOUT = 10.0
"""Seconds for a server to answer at all; MLflow itself tries again for minutes."""


class MLflow:
    """Parameters, metrics by epoch, and artifacts of one MLflow run.

    Everything goes through a client of its own, so that an active run of the user's is left alone. MLflow's own means
    decide where it is sent: ``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME`` and the rest of its environment
    variables, or ``mlflow.set_tracking_uri`` and ``mlflow.set_experiment``.
    """

    def __init__(self) -> None:
        self.id = ""

    @staticmethod
    def check() -> None:
        """Refuse an address that MLflow cannot use.

        Raises:
            UsageError: it is one.
        """
        import mlflow

        try:
            mlflow.MlflowClient()
        except mlflow.MlflowException as error:
            raise UsageError(
                without_credentials(
                    f"MLflow cannot use the tracking URI {mlflow.get_tracking_uri()}; set another one with "
                    f"MLFLOW_TRACKING_URI. {one_line(error)}."
                )
            ) from error

    def begin(self, run: Run, known: str) -> bool:
        """Begin a run with the parameters, or set the known one to running again."""
        import mlflow

        _reach(mlflow.get_tracking_uri())
        self._client = mlflow.MlflowClient()
        if known and _exists(self._client, known):
            self.id = known
            self._client.update_run(known, status="RUNNING")
            return False
        tags = {"mlflow.source.name": "cnnreg train", "run_directory": str(run.path.absolute())}
        made = self._client.create_run(_experiment(self._client), run_name=run.path.name, tags=tags)
        self.id = made.info.run_id
        settings = [
            mlflow.entities.Param(key, shorten(str(value), LONGEST))
            for key, value in tracked_settings(run.record).items()
        ]
        for start in range(0, len(settings), AT_ONCE):
            self._client.log_batch(self.id, params=settings[start : start + AT_ONCE])
        return True

    def epoch(self, row: Epoch) -> None:
        """Log the figures, with the epoch as the step, counted from 1."""
        self._log(figures_of(row), row.epoch)

    def end(self, run: Run, files: Sequence[Path]) -> None:
        """Log the result and the artifacts, and record how the run ended."""
        status = run.record.status
        results = results_of(run.record)
        self._log(results, int(results.get("best_epoch", 0)))
        for file in files:
            self._client.log_artifact(self.id, str(file))
        ended = "FINISHED" if status in ENDED else "FAILED" if status == "failed" else "KILLED"
        self._client.set_terminated(self.id, ended)

    def _log(self, figures: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = time.time_ns() // 10**6
        metrics = [Metric(re.sub(r"[^\w\-. :/]", "_", name), value, now, step) for name, value in figures.items()]
        self._client.log_batch(self.id, metrics=metrics)


def _reach(uri: str) -> None:
    """See that a server answers, whatever it answers.

    Raises:
        requests.RequestException: it does not.
    """
    if uri.startswith(("http://", "https://")):
        import requests

        with suppress(requests.exceptions.SSLError):  # it answers; whether to trust it is for MLflow to decide
            requests.head(uri, timeout=TIMEOUT)


def _exists(client: MlflowClient, known: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(known).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _experiment(client: MlflowClient) -> str:
    """The id of the user's experiment, or of this package's, which is made where it is not there yet."""
    from mlflow.exceptions import MlflowException

    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):  # set by mlflow.set_experiment also
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another process may have made it meanwhile
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise
