"""Every public docstring describes each argument and field, what is returned, and the errors that are raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripts import script
from tests.test_public_face import arguments, definitions, make_api

docstrings = script("docs.docstrings")

AS_FOR = re.compile(r"\b[Aa]rguments\b.*\bas for `(?:cnn_registry\.)?(\w+)`", re.DOTALL)
"""What a method says that passes its arguments on."""

NOUN = re.compile(r"(The|A|An|Whether|What|Names|This)\b")
"""How a docstring begins that names what is returned."""


def nodes(definition: Any) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """A public function, or a class with its public methods."""
    node = definition.node
    yield node.name, node
    if isinstance(node, ast.ClassDef):
        for member in node.body:
            if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                yield f"{node.name}.{member.name}", member


EVERY = [
    pytest.param(name, node, definition, id=f"{face}:{name}")
    for face, definition in definitions()
    if isinstance(definition.node, ast.FunctionDef | ast.ClassDef)
    for name, node in nodes(definition)
]


@pytest.mark.parametrize(("name", "node", "definition"), EVERY)
def test_a_public_docstring_is_complete(name: str, node: ast.FunctionDef | ast.ClassDef, definition: Any) -> None:
    assert list(faults(node, definition)) == []


def faults(node: ast.FunctionDef | ast.ClassDef, definition: Any) -> Iterator[str]:
    """What a docstring lacks."""
    text = ast.get_docstring(node) or ""
    found = docstrings.sections(text)
    if isinstance(node, ast.ClassDef):
        if any(base.name in ("CnnRegistryError", "CheckSkipped") for _, base in make_api.lineage(definition)):
            return  # users catch it, and do not make it
        fields = make_api.parameters_of_class(definition)
        described = {**inherited(definition), **docstrings.items(found.get("Args", ""))}
        names = {re.split(r"[:=]", field)[0].strip().lstrip("*") for field in fields}
    else:
        described = docstrings.items(found.get("Args", ""))
        names = {argument.arg for argument in arguments(node)}
        if node.args.kwarg:
            names.add(node.args.kwarg.arg)
    delegated = AS_FOR.search(text)
    for missing in sorted(names - {""} - set(described)):
        if not delegated and f"``{missing}``" not in found[""]:
            yield f"nothing about {missing}"
    if isinstance(node, ast.ClassDef):
        return
    returned = ast.unparse(node.returns) if node.returns else "None"
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    is_value = decorators & {"property", "cached_property", "contextmanager"}
    if returned != "None" and not is_value and not ("Returns" in found or NOUN.match(text) or delegated):
        yield "nothing about what is returned"
    raised = {
        ast.unparse(inner.exc.func)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Raise) and isinstance(inner.exc, ast.Call) and ast.unparse(inner.exc.func)[0].isupper()
    }
    for missing in sorted(raised - set(docstrings.items(found.get("Raises", "")))):
        yield f"nothing about {missing}"


def inherited(definition: Any) -> dict[str, str]:
    """What a class and those that it inherits from say about their fields."""
    found: dict[str, str] = {}
    for _, node in make_api.lineage(definition):
        parts = docstrings.sections(ast.get_docstring(node) or "")
        found |= docstrings.items(parts.get("Attributes", "")) | docstrings.items(parts.get("Args", ""))
    return found
