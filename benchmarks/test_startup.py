"""``cnnreg list`` as a whole process, beside the least that a command made with click can take."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cnn_registry import discovery

if TYPE_CHECKING:
    from benchmarks.conftest import Compare

MODULE = '''"""A plugin of one model."""

from cnn_registry import Paper, register_model


@register_model(
    family="tiny",
    summary="A tiny network, number {number}",
    paper=Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org"),
    trainable_params=5112,
    recipe_settings={{"article": {{"optimizer.learning_rate": 1e-5}}}},
)
def tiny{number}(input_shape, num_classes, *, width=4, classifier_activation="softmax"):
    """Build the network."""
    from tiny{number}_network import build

    return build(input_shape, num_classes, width=width, classifier_activation=classifier_activation)
'''


# With ten models the promise is five times click's import. With a thousand the limit keeps a listing linear: it would
# not hold if every model cost one more look through the installed packages.
@pytest.mark.parametrize(("models", "limit", "rounds"), [(10, 5, 15), (1000, 25, 7)], ids=["10", "1000"])
def test_list(
    models: int, limit: float, rounds: int, benchmark: BenchmarkFixture, compare: Compare, tmp_path: Path
) -> None:
    install(models, tmp_path)
    variables = only_those_in(tmp_path)

    def list_models() -> float:
        seconds, output = timed(Path(sys.executable).with_name("cnnreg"), "list", **variables)
        assert len(output.splitlines()) == 1 + models
        return seconds

    compared = compare(list_models, import_click, rounds)
    spent = np.median(compared.costs - compared.references)
    benchmark.extra_info["list / import of click"] = compared.summary()
    benchmark.extra_info["beyond the import of click"] = f"{1e3 * spent:.0f} ms, {1e3 * spent / models:.2f} ms a model"
    compared.check(limit, f"cnnreg list with {models} models, in imports of click")


def import_click() -> float:
    """Seconds for a bare interpreter and click's import."""
    seconds, _ = timed(sys.executable, "-c", "import click")
    return seconds


def install(models: int, folder: Path) -> None:
    """Write distributions of one model each, as pip would leave them."""
    for number in range(models):
        (folder / f"tiny{number}.py").write_text(MODULE.format(number=number))
        info = folder / f"tiny{number}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: tiny{number}\nVersion: 1.0\n\nRead me\n")
        (info / "entry_points.txt").write_text(f"[{discovery.MODELS}]\ntiny{number} = tiny{number}:tiny{number}\n")


def only_those_in(folder: Path) -> dict[str, str]:
    """The environment in which the distributions in ``folder`` are the only plugins."""
    others = {entry.distribution for entry in discovery.installed(discovery.MODELS)}
    return {"PYTHONPATH": str(folder), "CNNREG_PLUGINS": "", "CNNREG_DISABLE_PLUGINS": ",".join(others)}


def timed(*command: str | Path, **variables: str) -> tuple[float, str]:
    """How many seconds a process takes from its start to its end, and what it prints."""
    # Users' modules are compiled. The first round, which does not count, must be able to leave them so.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    ended = subprocess.run(command, env=inherited | variables, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, ended.stdout
