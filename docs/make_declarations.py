"""Print ``docs/declarations.md``, every argument of what a plugin declares. ``make docs`` runs it.

It is read from the sources, whose signatures and docstrings have it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from docs import make_api
from docs.docstrings import items, markdown, sections

HEAD = """\
# Declarations

<!-- Written by docs/make_declarations.py; do not edit. -->

A plugin declares its models with `register_model` and its datasets with `register_dataset`, both from `cnn_registry`.
This page has every argument. [Write a plugin](plugin-authors.md) has examples.
"""

NAMES = ("register_model", "register_dataset", "Paper", "Feature", "Pretrained")


def main() -> None:
    """Print the page."""
    print("\n".join([HEAD, *(line for name in NAMES for line in section(name))]), end="")


def section(name: str) -> Iterator[str]:
    """The arguments of a function, or the fields of a class."""
    definition = make_api.find(make_api.parse("cnn_registry"), name)
    assert definition is not None
    node = definition.node
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    found = sections(ast.get_docstring(node) or "")
    meanings = items(found.get("Args") or found["Attributes"])
    if isinstance(node, ast.FunctionDef):
        given = make_api.parameters(node, definition.module)
    else:
        given = make_api.parameters_of_class(definition)
    yield f"## {name}\n"
    yield f"{markdown(found[''])}\n"
    yield "\n".join(line(parameter, meanings) for parameter in given if parameter != "*") + "\n"
    for heading in ("Returns", "Raises"):
        if heading in found:
            yield f"**{heading}**\n"
            errors = items(found[heading]) if heading == "Raises" else {}
            yield "\n".join(f"- `{error}`: {markdown(text)}" for error, text in errors.items()) or markdown(
                " ".join(found[heading].split())
            )
            yield ""


def line(parameter: str, meanings: dict[str, str]) -> str:
    """An argument with its type, its default and its meaning."""
    name, _, rest = parameter.partition(": ")
    kind, _, default = rest.partition(" = ")
    return f"- **`{name}`**: `{kind}`, {f'default `{default}`' if default else 'required'}. {sentence(meanings[name])}"


def sentence(text: str) -> str:
    """What a docstring says about an argument, as a sentence of its own, without the default, which is before it."""
    text = re.sub(r"; default [^,]*$", ".", markdown(text))
    return text[0].upper() + text[1:]


if __name__ == "__main__":
    main()
