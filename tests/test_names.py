"""One name, one meaning: no two modules define a public function, class or type of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "cnn_registry"

SAME = {
    "command": "each module of cli has its command under this name",
    "check_docstring": "the check of this name, of models and of datasets",
    "check_light_import": "likewise",
    "check_spec": "likewise",
    "main": "what a process runs",
}
"""Names that several modules have on purpose."""


def defined(tree: ast.Module) -> Iterator[str]:
    """Public functions, classes and types (in capitals and small letters) of a module; constants are its own affair."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)) if (
                not name.isupper()
            ):
                yield name


def test_no_two_modules_define_the_same_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for file in sorted(SOURCE.rglob("*.py")):
        for name in defined(ast.parse(file.read_text(encoding="utf-8"))):
            if not name.startswith("_") and name not in SAME:
                modules[name].append(file.relative_to(SOURCE).as_posix())
    assert {name: files for name, files in modules.items() if len(files) > 1} == {}


def test_every_exception_is_one() -> None:
    names = [name for file in SOURCE.rglob("*.py") for name in defined(ast.parse(file.read_text(encoding="utf-8")))]
    assert {name for name in SAME if names.count(name) < 2} == set()
