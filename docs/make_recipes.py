"""Print ``docs/recipes.md``, every key of a recipe with its type, its default and its meaning. ``make docs`` runs it.

It is read from `Recipe`, whose fields and docstrings have it.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

sys.path.insert(0, str(Path(__file__).parents[1]))
from cnn_registry import Recipe
from docs import make_api
from docs.docstrings import items, markdown, sections

HEAD = """\
# Recipes

<!-- Written by docs/make_recipes.py; do not edit. -->

A recipe holds every setting of a training except the model and the data. This page has every key. A key is set

- in a file that `--recipe` reads: `epochs = 40`, and for a key with a dot a table, `[optimizer]` with `name = "sgd"`
  below it, or `optimizer.name = "sgd"`;
- for one training: `--set optimizer.name=sgd` in a shell, `settings={"optimizer.name": "sgd"}` in Python;
- by a model's package: `recipe_settings` of [its declaration](declarations.md#register_model).

`none` stands for an absent value: `--set ema=none`, or `ema = "none"` in a file. The defaults are those of a recipe
that extends no other; `cnnreg recipes` lists the recipes and `cnnreg recipes default` shows the values of one. [The
guide](guide.md#training) says which of several values holds.
"""

WORDS = {int: "integer", float: "number", bool: "true or false", str: "text"}
BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def main() -> None:
    """Print the page."""
    print("\n".join([HEAD, *keys(Recipe, ""), *pixels()]), end="")


def keys(settings: type[BaseModel], table: str) -> Iterator[str]:
    """The keys of a table, and then those of the tables in it."""
    meanings = items(sections(inspect.getdoc(settings) or "")["Attributes"])
    fields = settings.model_fields
    tables = {name: inner for name, field in fields.items() if (inner := table_of(field))}
    if table:
        yield f"## {table}\n"
        yield f"{markdown(sections(inspect.getdoc(settings) or '')[''])}\n"
    else:
        yield "## Top level\n"
    yield "\n".join(
        f"- **`{table}{'.' if table else ''}{name}`**: {describe(field)}. {sentence(meanings[name])}"
        for name, field in fields.items()
        if name not in tables
    )
    yield ""
    for name, inner in tables.items():
        yield from keys(inner, name)


def table_of(field: FieldInfo) -> type[BaseModel] | None:
    """The class of a field that is a table of its own."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            return kind
    return None


def describe(field: FieldInfo) -> str:
    """The type of a field, with its bounds, and its default."""
    bounds = [bound for item in field.metadata if (bound := bounded(item))]
    text, *absent = words(field.annotation).partition(" or none")
    text = "".join([text, f" {' and '.join(bounds)}" if bounds else "", *absent])
    if field.is_required():
        return f"{text}, required"
    default = field.get_default(call_default_factory=True)
    return f"{text}, default {written(default)}"


def bounded(item: Any) -> str:
    """A constraint in words; empty for what is not a bound."""
    return " and ".join(f"{sign} {getattr(item, name)}" for name, sign in BOUNDS.items() if hasattr(item, name))


def words(kind: Any) -> str:
    """A type in words."""
    arguments = get_args(kind)
    match get_origin(kind):
        case None:
            return "none" if kind is type(None) else WORDS.get(kind, "any")
        case origin if origin is Annotated:
            inner = [bounded(each) for item in arguments[1:] for each in (item, *getattr(item, "metadata", ()))]
            return " ".join([words(arguments[0]), " and ".join(filter(None, inner))]).strip()
        case origin if origin is Literal:
            *others, last = (f"`{value}`" for value in arguments)
            return f"{', '.join(others)} or {last}"
        case origin if origin is tuple and arguments[-1] is Ellipsis:
            return f"list of: {words(arguments[0])}"
        case origin if origin is tuple:
            return f"[{', '.join(map(words, arguments))}]"
        case origin if origin in (Union, types.UnionType):
            return " or ".join(map(words, arguments))
    return "table of options"


def written(value: Any) -> str:
    """A value as a recipe's file has it."""
    if isinstance(value, tuple):
        value = [round(each, 4) if isinstance(each, float) else each for each in value]
    return "`none`" if value is None else f"`{json.dumps(value)}`"


def sentence(text: str) -> str:
    """What a docstring says about a key, as a sentence of its own."""
    text = markdown(text).replace("`None`", "`none`").replace("`False`", "`false`")
    return text[0].upper() + text[1:]


def pixels() -> Iterator[str]:
    """The values of ``pixels``, as `Pixels` documents them."""
    definition = make_api.find(make_api.parse("cnn_registry"), "Pixels")
    assert definition is not None
    yield "## Values of pixels\n"
    yield markdown(definition.module.docs["Pixels"]) + "\n"


if __name__ == "__main__":
    main()
