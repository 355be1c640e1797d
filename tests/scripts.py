"""Scripts of the repository that no package holds, as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    """The script ``docs/make_recipes.py`` of the name ``docs.make_recipes``, loaded once."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, (ROOT / name.replace(".", "/")).with_suffix(".py"))
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
