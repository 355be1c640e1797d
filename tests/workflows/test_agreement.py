from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cnn_registry import errors
from cnn_registry.backend.replicas import Replicas
from cnn_registry.backend.strategy import Distribution
from cnn_registry.registry.models import get_spec
from cnn_registry.runs.record import OptionsRecord
from cnn_registry.workflows import workers
from cnn_registry.workflows.plan import Plan, Request, plan_training


class Two(Distribution):
    """Two workers, of which the other has some facts changed."""

    kind = "multiworker"
    replicas = Replicas(0, 1, 2)

    def __init__(self, **changes: str) -> None:
        self.changes = changes

    def all_gather(self, value: Any) -> list[Any]:
        return [value, value | self.changes]


class Built:
    fingerprint = "f"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_training(Request(get_spec("lenet5"), dataset="digits"), keep=False)


def test_a_run_does_not_record_passwords(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["cnnreg", "tune", "--storage=postgresql://tuner:secret@host/tuning", "a@b.png"])
    command = plan.record(OptionsRecord(), "").command
    assert command == ["cnnreg", "tune", "--storage=postgresql://host/tuning", "a@b.png"]


def test_workers_that_train_the_same_agree(plan: Plan) -> None:
    workers.check_same(Two(), plan, Built())  # type: ignore[arg-type]  # all that is asked of it


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version of cnnreg-lenet": "9.9"}, "the version of cnnreg-lenet of worker 1 is different: 9.9 there, "),
        ({"images": "another"}, "the images of worker 1 are different"),
        ({"setting epochs": "3"}, "the setting epochs of worker 1 is different: 3 there, "),
        ({"version of extra": "1"}, "the version of extra of worker 1 is different"),
    ],
)
def test_workers_that_would_train_something_else_are_refused(plan: Plan, changes: dict[str, str], says: str) -> None:
    with pytest.raises(errors.UsageError, match=says):
        workers.check_same(Two(**changes), plan, Built())  # type: ignore[arg-type]  # as above


def test_what_several_replicas_cannot_train_is_refused(plan: Plan) -> None:
    small = plan.resolved.recipe.with_settings({"batch_size": 1})
    timed = plan.resolved.recipe.with_settings({"time_limit": "10m"})
    for recipe, says in ((small, "batch_size=1 is less"), (timed, "time_limit is for one device")):
        with pytest.raises(errors.UsageError, match=says):
            workers.fitting(Two(), replace(plan, resolved=replace(plan.resolved, recipe=recipe)))


def test_the_rate_is_scaled_once_and_recorded() -> None:
    settings = {"batch_size": 32, "accumulate": 4, "optimizer.learning_rate": 0.1, "optimizer.for_images": 64}
    found = plan_training(Request(get_spec("lenet5"), dataset="digits", settings=settings), keep=False).recipe
    assert (found.optimizer.learning_rate, found.optimizer.for_images) == (0.2, 128)
    again = plan_training(Request(get_spec("lenet5"), dataset="digits", recipe=found), keep=False).recipe
    assert again.optimizer.learning_rate == 0.2


def test_a_process_of_several_makes_no_cross_validation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cnn_registry.workflows.cross_validate import train_folds

    described = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", described)
    with pytest.raises(errors.UsageError, match="runs in one process"):
        train_folds("lenet5", 2, dataset="digits", out=tmp_path)
