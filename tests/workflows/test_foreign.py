"""A recipe file, or a run, that names code: nothing of it is imported or called unless the user allows its module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec
from cnn_registry.runs.run import Run
from cnn_registry.workflows.foreign import refuse_foreign_code
from cnn_registry.workflows.plan import Request, plan_training
from cnn_registry.workflows.resume import resume

HOSTILE = {
    "the loss": 'loss.name = "os:system"\nloss.options = {command = "touch PWNED"}',
    "a short loss": 'loss = "evil:loss"',
    "the optimizer": 'optimizer.name = "subprocess:check_call"\noptimizer.options = {args = ["touch", "PWNED"]}',
    "the schedule": 'schedule.name = "evil:rate"',
    "a metric": 'metrics = ["AUC", "os:system,command=touch PWNED"]',
    "a callback": 'callbacks = ["keras.callbacks:CSVLogger,filename=PWNED"]',
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("open('PWNED', 'w').close()\ndef loss(): ...\ndef rate(*args): ...\n")
    return tmp_path


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_recipe_file_runs_no_code(tiny: str, colours: Path, here: Path, text: str) -> None:
    (here / "base.toml").write_text(f"epochs = 1\n{text}")
    (here / "mine.toml").write_text('extends = "base.toml"\nepochs = 1')
    for recipe in ("base.toml", "mine.toml"):
        with pytest.raises(UsageError, match=r"names code that would run: .* CNNREG_OBJECTS="):
            plan_training(Request(get_spec(tiny), data=colours, recipe=recipe), keep=False)
    assert not (here / "PWNED").exists()
    assert "evil" not in sys.modules


def test_a_run_runs_no_code(
    tiny: str, colours: Path, trained_once: Path, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Run.open(trained_once).record
    hostile = record.recipe.model_copy(update={"callbacks": ("evil:loss",)})
    (tmp_path / "run").mkdir()
    run = Run(tmp_path / "run", record.model_copy(update={"recipe": hostile, "status": "running"}))
    run.save()
    for attempt in (
        lambda: resume(run.path, force=True),
        lambda: plan_training(Request(get_spec(tiny), data=colours, recipe=run.path), keep=False),
    ):
        with pytest.raises(UsageError, match="names code that would run: 'evil:loss'"):
            attempt()
    assert not (here / "PWNED").exists()


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [("", True), ("my", False), (" other, my.parts ", False), ("my.par", True), ("m", True), ("*", True)],
)
def test_a_module_is_allowed_with_those_in_it(monkeypatch: pytest.MonkeyPatch, allowed: str, refused: bool) -> None:
    monkeypatch.setenv("CNNREG_OBJECTS", allowed)
    recipe = Recipe(name="mine", epochs=1).with_settings({"loss.name": "my.parts:Loss"})
    if refused:
        with pytest.raises(UsageError, match=r"my\.parts:Loss"):
            refuse_foreign_code(recipe, "mine.toml", {"loss.name"})
    else:
        refuse_foreign_code(recipe, "mine.toml", {"loss.name"})


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ('loss.name = "keras.losses:CategoricalHinge"', False),
        ('optimizer.name = "keras.optimizers:Lion"', False),
        ('metrics = ["keras.metrics:AUC"]', False),
        ('loss.name = "keras.utils:get_file"', True),
        ('loss.name = "keras.optimizers:Lion"', True),
        ('callbacks = ["keras.callbacks:TerminateOnNaN"]', True),
    ],
)
def test_installed_classes_of_the_right_kind_need_no_permission(
    tiny: str, colours: Path, here: Path, text: str, refused: bool
) -> None:
    (here / "mine.toml").write_text(f"epochs = 1\n{text}")
    if refused:
        with pytest.raises(UsageError, match="names code that would run"):
            plan_training(Request(get_spec(tiny), data=colours, recipe="mine.toml"), keep=False)
    else:
        assert plan_training(Request(get_spec(tiny), data=colours, recipe="mine.toml"), keep=False)


@pytest.mark.parametrize("settings", [{"loss.name": "evil:loss"}, {"loss": "evil:loss"}])
def test_what_the_user_gives_is_imported(tiny: str, colours: Path, here: Path, settings: dict[str, Any]) -> None:
    (here / "mine.toml").write_text("epochs = 1")
    with pytest.raises(UsageError, match="must make a keras"):
        plan_training(Request(get_spec(tiny), data=colours, recipe="mine.toml", settings=settings), keep=False)
    assert (here / "PWNED").exists()
    sys.modules.pop("evil")
