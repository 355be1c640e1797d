"""What may be imported, and that everything written for users imports from nowhere else."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cnn_registry.scaffold.render import LAYERS, render

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs" / "make_api.py"

specification = importlib.util.spec_from_file_location("make_api", SCRIPT)
assert specification is not None
assert specification.loader is not None
make_api = importlib.util.module_from_spec(specification)
sys.modules["make_api"] = make_api  # where dataclasses look for it
specification.loader.exec_module(make_api)

FACES: tuple[str, ...] = make_api.FACES
BUILDERS_OWN = "create_model"
"""Its options are those of the model's builder, which nobody knows beforehand."""


def test_the_page_is_what_its_script_prints() -> None:
    made = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == made, "the public API has changed; run: make docs"


@pytest.mark.parametrize("face", FACES)
def test_every_name_on_the_page_can_be_imported_and_no_other_is_exported(face: str) -> None:
    module = importlib.import_module(face)
    names = set(make_api.public_names(face))
    assert set(module.__all__) - {"__version__"} == names
    assert names <= set(dir(module))
    assert module.__doc__


@pytest.mark.slow
def test_a_public_name_is_what_its_module_defines(run_warm_python: Any) -> None:
    """Whatever was imported before: a function may have the name of a module."""
    homes = [(name, definition.module.name) for name, definition in definitions()]
    code = """
        import importlib
        for public, home in {homes!r}:
            face, _, name = public.rpartition(".")
            defined = getattr(importlib.import_module(home), name)
            exec(f"from {{face}} import {{name}} as imported")
            assert imported is defined, public
    """
    code = textwrap.dedent(code)
    exec(code.format(homes=homes), {})
    forget = "import sys\nfor name in [*sys.modules]: name.startswith('cnn_registry') and sys.modules.pop(name)"
    done = run_warm_python("-c", f"{forget}\n{code.format(homes=homes[::-1])}")
    assert done.returncode == 0, done.stderr


def definitions() -> Iterator[tuple[str, Any]]:
    for face in FACES:
        for name in make_api.public_names(face):
            if definition := make_api.find(make_api.parse(face), name):
                yield f"{face}.{name}", definition


@pytest.mark.parametrize(("name", "definition"), [pytest.param(*pair, id=pair[0]) for pair in definitions()])
def test_every_public_name_has_a_docstring_and_types(name: str, definition: Any) -> None:
    assert list(make_api.entry(name.rpartition(".")[2], definition, set()))
    if not isinstance(definition.node, ast.FunctionDef | ast.ClassDef):
        return
    assert make_api.first_line(definition.node)
    for function in functions(definition):
        if function.name not in ("__init__", "__reduce__"):
            assert function.name.startswith("_") or make_api.first_line(function), function.name
        for argument in arguments(function):
            assert argument.annotation is not None, f"{function.name}({argument.arg})"
        rest = function.args.kwarg
        if rest is not None and function.name != BUILDERS_OWN:
            assert ast.unparse(rest.annotation or rest).startswith("Unpack["), f"{function.name}(**{rest.arg})"
        assert function.returns is not None, function.name


PUBLIC = {name for face in FACES for name in make_api.public_names(face)} | set(FACES) | set(vars(builtins))


@pytest.mark.parametrize(("name", "definition"), [pytest.param(*pair, id=pair[0]) for pair in definitions()])
def test_docstrings_refer_to_public_names_only(name: str, definition: Any) -> None:
    if not isinstance(definition.node, ast.FunctionDef | ast.ClassDef):
        return
    nodes = [definition.node, *functions(definition)]
    known = PUBLIC | {node.name for node in nodes}
    for node in nodes:
        for reference in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", ast.get_docstring(node) or ""):
            assert reference.startswith("keras.") or reference.removeprefix("cnn_registry.") in known, reference


def functions(definition: Any) -> Iterator[ast.FunctionDef]:
    """A public function, or the public methods of a class and of the classes that it inherits from."""
    if isinstance(definition.node, ast.FunctionDef):
        yield definition.node
        return
    for _, node in make_api.lineage(definition):
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and (member.name == "__init__" or not member.name.startswith("_")):
                yield member


def arguments(function: ast.FunctionDef) -> list[ast.arg]:
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return [argument for argument in every if argument.arg not in ("self", "cls")]


def faults(tree: ast.AST) -> Iterator[str]:
    """What a module imports from inside the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "cnn_registry" and alias.name not in FACES:
                    yield f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("cnn_registry"):
            known = {*make_api.public_names(node.module), "__version__"} if node.module in FACES else set()
            for alias in node.names:
                if alias.name not in known:
                    yield f"from {node.module} import {alias.name}"


PYTHON = [*ROOT.glob("plugins/**/*.py"), *ROOT.glob("docs/**/*.py")]
EXEMPT = {ROOT / "docs" / "results_page" / "accuracy.py"}
"""It draws the pictures of the results page with the functions of a run's report."""

PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]


def relative(paths: Iterable[Path]) -> list[Any]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in sorted(paths)]


@pytest.mark.parametrize("file", relative(set(PYTHON) - EXEMPT))
def test_plugins_and_scripts_import_public_names_only(file: Path) -> None:
    assert list(faults(ast.parse(file.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("template", LAYERS)
def test_new_packages_import_public_names_only(template: str) -> None:
    files = render("mine", template, "Doe")
    assert [fault for name, text in files.items() if name.endswith(".py") for fault in faults(ast.parse(text))] == []
    assert [fault for name, text in files.items() if name.endswith(".md") for fault in page_faults(text)] == []


@pytest.mark.parametrize("page", relative(PAGES))
def test_pages_import_and_name_public_names_only(page: Path) -> None:
    assert list(page_faults(page.read_text(encoding="utf-8"))) == []


GROUPS = {"models", "datasets", "recipes", "commands", "model"}
"""Entry-point groups, which are dotted names as well, and a misspelt one that a page warns of."""


def page_faults(text: str) -> Iterator[str]:
    """What a page imports or names from inside the package: in Python blocks, in commands, in the text."""
    for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if "import" in block:  # others are fragments
            yield from faults(ast.parse(block))
    for code in re.findall(r"python -c '(.*?)'", text):
        yield from faults(ast.parse(code))
    for dotted in re.findall(r"\bcnn_registry((?:\.\w+)+)", text):
        names = dotted.split(".")[1:]
        while names and ".".join(["cnn_registry", *names]) not in FACES:
            last = names.pop()
        face = ".".join(["cnn_registry", *names])
        complete = face == f"cnn_registry{dotted}"
        if not complete and last not in make_api.public_names(face) and dotted[1:] not in GROUPS:
            yield f"cnn_registry{dotted}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import cnn_registry", []),
        ("import cnn_registry.blocks as blocks", []),
        ("from cnn_registry import create_model, blocks, __version__", []),
        ("from cnn_registry.errors import UsageError, suggestion", []),
        ("import cnn_registry.text", ["import cnn_registry.text"]),
        ("from cnn_registry import text", ["from cnn_registry import text"]),
        ("from cnn_registry.blocks.residual import StrideIn", ["from cnn_registry.blocks.residual import StrideIn"]),
        ("from cnn_registry.data import sources", ["from cnn_registry.data import sources"]),
    ],
)
def test_the_check_sees_imports_from_inside(code: str, found: list[str]) -> None:
    assert list(faults(ast.parse(code))) == found
    assert set(page_faults(f"Text\n\n```python\n{code}\n```\n")) >= set(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`cnn_registry.data.download` and `cnn_registry.errors`", []),
        ("the group `cnn_registry.models`", []),
        ("`cnn_registry.spec.API_VERSION`", ["cnn_registry.spec.API_VERSION"]),
        ("`cnn_registry.data.sources`", ["cnn_registry.data.sources"]),
        ("$ python -c 'import cnn_registry.text'", ["import cnn_registry.text", "cnn_registry.text"]),
    ],
)
def test_the_check_sees_names_in_the_text(text: str, found: list[str]) -> None:
    assert list(page_faults(text)) == found


def test_importing_the_package_imports_no_third_party_package(run_python: Any) -> None:
    code = "import json, sys; before = set(sys.modules); import cnn_registry; print(json.dumps([*sys.modules]))"
    done = run_python("-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'src')!r}); {code}")
    assert done.returncode == 0, done.stderr
    foreign = {name.partition(".")[0] for name in json.loads(done.stdout)} - sys.stdlib_module_names
    assert foreign <= {"cnn_registry", "__main__"}
