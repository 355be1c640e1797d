"""What people use before they train costs milliseconds, because none of the heavy packages is imported for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

HEAVY = {"tensorflow", "keras", "numpy", "sklearn", "scipy", "matplotlib", "h5py", "PIL"}

REPORT = "\nimport json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"

COMMAND = """
import runpy, sys
sys.argv = ["cnnreg", *{arguments!r}]
try:
    runpy.run_module("cnn_registry", run_name="__main__", alter_sys=True)
except SystemExit as ending:
    assert not ending.code, ending.code
"""

PYTHON = [
    "import cnn_registry",
    "import cnn_registry.registry.models",
    "import cnn_registry.registry.datasets",
    "import cnn_registry; assert cnn_registry.list_models('light*') == ['light']",
    "import cnn_registry; assert cnn_registry.get_spec('light').family == 'tiny'",
    "import cnn_registry.registry.models as r; assert [s.name for s in r.describe_models()] == ['light']",
    "from cnn_registry.registry.datasets import describe_datasets; assert describe_datasets()",
]

COMMANDS = [
    ["--help"],
    ["list"],
    ["list", "--json"],
    ["info", "light"],
    ["info", "light", "--json"],
    ["datasets"],
    ["recipes"],
]


@pytest.mark.parametrize(
    "code",
    [
        *(pytest.param(code, id=code) for code in PYTHON),
        *(pytest.param(COMMAND.format(arguments=command), id=" ".join(["cnnreg", *command])) for command in COMMANDS),
    ],
)
def test_nothing_heavy_is_imported(plugins: FakePlugins, run_python: Any, code: str) -> None:
    plugins.install("fake-light", "light")
    done = run_python("-W", "error", "-c", code + REPORT)
    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
    assert "cnn_registry" in modules
    assert not HEAVY & modules


def test_the_proof_would_see_a_heavy_import(run_python: Any) -> None:
    done = run_python("-c", "import matplotlib" + REPORT)
    assert "matplotlib" in json.loads(done.stderr.splitlines()[-1])
