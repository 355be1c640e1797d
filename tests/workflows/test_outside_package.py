"""A package of somebody else's, as a wheel: it brings a recipe, an optimizer, an augmentation and a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hatchling.build import build_wheel

from cnn_registry import load_recipe, load_run

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

FILES = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-vision"
version = "1.2"
dependencies = ["cnn-registry"]

[project.entry-points."cnn_registry.recipes"]
acme = "acme_vision:acme"

[project.entry-points."cnn_registry.commands"]
acme_steps = "acme_vision.command:steps"
""",
    "src/acme_vision/__init__.py": "",
    "src/acme_vision/acme.toml": """
extends = "article"
summary = "Acme's own way"

[optimizer]
name = "acme_vision.optimizer:Damped"
learning_rate = 0.05
options = {damping = 0.5}

[augmentation]
steps = ["acme_vision.augmentation:Shade,by=30"]
""",
    "src/acme_vision/optimizer.py": """
import keras


class Damped(keras.optimizers.SGD):
    "Gradient descent with its gradients scaled down."

    def __init__(self, learning_rate=0.01, damping=1.0, **options):
        super().__init__(learning_rate, **options)
        self.damping = damping

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(self.damping * gradient, variable, learning_rate)

    def get_config(self):
        return super().get_config() | {"damping": self.damping}
""",
    "src/acme_vision/augmentation.py": """
import tensorflow as tf


class Shade:
    "Darkens each image by a random amount."

    def __init__(self, by=10):
        self.by = by

    def __call__(self, images, seed):
        amount = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed, 0.0, float(self.by))
        return tf.clip_by_value(images - amount, 0.0, 255.0)

    def get_config(self):
        return {"by": self.by}
""",
    "src/acme_vision/command.py": """
import click


@click.command()
@click.argument("run")
def steps(run):
    "Count the steps of a RUN."
    from cnn_registry import load_run

    record = load_run(run).record
    click.echo(f"{record.recipe.optimizer.name}: {record.recipe.epochs} epochs")
""",
}


@pytest.fixture
def acme(plugins: FakePlugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's wheel, built outside of this checkout and put on the path."""
    project = tmp_path / "acme-vision"
    for name, text in FILES.items():
        file = project / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with monkeypatch.context() as context:
        context.chdir(project)
        plugins.unpack(tmp_path / "acme-vision" / "dist" / build_wheel("dist"))


@pytest.mark.usefixtures("acme")
def test_its_parts_are_used_by_their_names_alone(tiny: str, colours: Path, tmp_path: Path, cnnreg: Cnnreg) -> None:
    assert load_recipe("acme").summary == "Acme's own way"
    asked = ["--data", colours, "--recipe", "acme", "--epochs", 1, "--image-size", 16, "--out", tmp_path / "runs"]
    trained = cnnreg("train", tiny, *asked, "--json")
    assert trained.code == 0, trained.err
    run = load_run(json.loads(trained.out)["run"])
    recipe = run.record.recipe
    assert (recipe.extends, recipe.optimizer.name) == ("article", "acme_vision.optimizer:Damped")
    assert recipe.optimizer.options == {"damping": 0.5}
    assert run.record.steps == {"acme_vision.augmentation:Shade,by=30": {"by": 30}}
    counted = cnnreg("acme-steps", run.path)
    assert counted.code == 0, counted.err
    assert counted.out == "acme_vision.optimizer:Damped: 1 epochs\n"
    assert "  acme-steps " in cnnreg("--help").out
