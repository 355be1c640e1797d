"""Looking something up changes nothing in the user's process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import FakePlugins

COMPARED = """
import json, os, signal, sys, warnings

def state():
    return {
        "environment": dict(os.environ),
        "path": list(sys.path),
        "meta path": [type(finder).__name__ for finder in sys.meta_path],
        "filters": repr(warnings.filters),
        "signals": {number: repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "streams": [id(sys.stdin), id(sys.stdout), id(sys.stderr)],
        "folder": os.getcwd(),
    }

before = state()
CODE
after = state()
print(json.dumps([key for key in before if before[key] != after[key]]), file=sys.stderr)
"""

RUN = """
from cnn_registry.cli import main
sys.argv = ["cnnreg", *{arguments!r}]
try:
    main()
except SystemExit as ending:
    assert not ending.code, ending.code
"""

CALLS = [
    "import cnn_registry",
    "import cnn_registry; cnn_registry.list_models()",
    "import cnn_registry; cnn_registry.list_models('l*')",
    "import cnn_registry; cnn_registry.get_spec('light')",
    "import cnn_registry; cnn_registry.get_spec('fake-light:light').to_dict()",
    "from cnn_registry.registry.models import describe_models; describe_models()",
    "from cnn_registry.registry.datasets import describe_datasets; describe_datasets()",
    "from cnn_registry.registry.current import refresh; refresh()",
    "from cnn_registry.recipes.load import load_recipe, recipe_names; [load_recipe(name) for name in recipe_names()]",
    "import cnn_registry.data, cnn_registry.errors, cnn_registry.runs",
    """
import cnn_registry
for wrong in ("lihgt", "bad"):
    try:
        cnn_registry.get_spec(wrong)
    except cnn_registry.CnnRegistryError:
        pass
""",
]

COMMANDS = [["list"], ["list", "--json"], ["info", "light"], ["datasets"], ["recipes"]]


@pytest.mark.parametrize("code", [*CALLS, *(RUN.format(arguments=command) for command in COMMANDS)])
def test_a_lookup_changes_nothing(plugins: FakePlugins, run_python: Any, tmp_path: Path, code: str) -> None:
    plugins.install("fake-light", "light")
    plugins.install("fake-bad", source="print('look at me')\nraise RuntimeError", entries={"bad": "fake_bad:bad"})
    names = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL")
    home = str(tmp_path / "keras")
    done = run_python("-c", COMPARED.replace("CODE", code), **dict.fromkeys(names), KERAS_HOME=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1]) == []
    assert not (tmp_path / "keras").exists()


def test_a_plugin_that_imports_tensorflow_finds_it_prepared(plugins: FakePlugins, run_python: Any) -> None:
    source = "import os, tensorflow\nfound = os.environ.get('TF_ENABLE_ONEDNN_OPTS')\n" + plugins.declaration("heavy")
    info = plugins.install("fake-heavy", source=source, entries={"heavy": "fake_heavy:heavy"})
    (info.parent / "tensorflow.py").write_text("")  # what it finds is there before anything is imported
    code = "import cnn_registry; cnn_registry.get_spec('heavy'); import fake_heavy; print(fake_heavy.found)"
    done = run_python("-c", code, TF_ENABLE_ONEDNN_OPTS=None, TF_CPP_MIN_LOG_LEVEL=None)
    assert done.stdout == "1\n", done.stderr
