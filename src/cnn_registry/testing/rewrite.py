"""Put numbers that checks found into a model's declaration, in the file that a person wrote.

Only values that are written as integers, and keyword arguments that are missing, are touched. Whatever is written in
another way is refused, and so is a file that is not the author's own, such as an installed copy.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import shutil
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from cnn_registry.errors import UsageError
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.files import whole_file

DECORATOR = "register_model"
ANCHOR = "trainable_params"
"""The argument that every declaration has; missing ones are put behind it."""

_REST_OF_LINE = re.compile(rb",[ \t]*(?:#[^\r\n]*)?(\r\n|\n|\r)")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Rewrite:
    """A changed declaration that is not written yet.

    Attributes:
        path: the file.
        before: its content.
        after: what its content should be.
    """

    path: Path
    before: bytes
    after: bytes

    @property
    def diff(self) -> list[str]:
        """The change as the lines of a unified diff."""
        name = self.path.relative_to(here) if self.path.is_relative_to(here := Path.cwd()) else self.path
        old, new = (text.decode().splitlines() for text in (self.before, self.after))
        return list(unified_diff(old, new, str(name), str(name), lineterm="", n=1))

    def write(self) -> None:
        """Replace the file, whole or not at all; its mode stays.

        Raises:
            RunError: it cannot be written.
            UsageError: it was changed meanwhile.
        """
        if self.path.read_bytes() != self.before:
            raise UsageError(f"{self.path} was changed while the checks ran; nothing was written.")
        with whole_file(self.path) as temporary:
            temporary.write_bytes(self.after)
            shutil.copymode(self.path, temporary)


def rewrite(spec: ModelSpec, values: Mapping[str, int]) -> Rewrite:
    """The declaration of ``spec`` with other values of arguments of ``register_model``. Nothing is written.

    Args:
        spec: the model.
        values: integers by the argument's name.

    Raises:
        UsageError: the declaration is not a decorator of the function of that name with integers as they are, is not
            in UTF-8, or is an installed copy; the message says what to change by hand.
    """
    by_hand = ", ".join(f"{name}={value:_}" for name, value in values.items())
    try:
        path = _source(spec)
        before = path.read_bytes()
        after = _replaced(before, spec.name, values)
        if _without(after, spec.name, values) != _without(before, spec.name, values):
            raise _RefusedError("its declaration cannot be changed safely")
    except (_RefusedError, OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{spec.name}: nothing was written, because {error}. Declare {by_hand} yourself.") from error
    return Rewrite(path, before, after)


class _RefusedError(Exception):
    """Why a declaration is not changed."""


def _source(spec: ModelSpec) -> Path:
    """The file that declares the model, not a link to it."""
    found = inspect.getsourcefile(inspect.unwrap(spec.build))
    if found is None:
        raise _RefusedError("the file of its declaration is unknown")
    path = Path(found).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        raise _RefusedError(f"{path} is an installed copy (pip install -e installs the folder itself)")
    return path


def _replaced(source: bytes, name: str, values: Mapping[str, int]) -> bytes:
    """``source`` with the values in the declaration of ``name``."""
    bom = _BOM if source.startswith(_BOM) else b""
    text = source.removeprefix(_BOM)
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    given = {argument.arg: argument.value for argument in _call(ast.parse(text), name).keywords}
    edits = []
    for argument, value in values.items():
        node = given.get(argument)
        if node is None:
            edits.append(_insertion(text, starts, given[ANCHOR], f"{argument}={value:_}"))
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            edits.append((*_place(starts, node), f"{value:_}"))
        else:
            raise _RefusedError(f"its {argument} is not written as an integer")
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new.encode() + text[end:]
    return bom + text


def _call(tree: ast.Module, name: str) -> ast.Call:
    """The one ``register_model(...)`` that decorates the function ``name``, with keyword arguments alone."""
    calls = list(_calls(tree, name))
    if len(calls) != 1:
        raise _RefusedError(f"{'several' if calls else 'no'} @{DECORATOR}(...) stand before 'def {name}'")
    arguments = [argument.arg for argument in calls[0].keywords]
    if None in arguments or ANCHOR not in arguments:
        raise _RefusedError("its arguments are not all written out")
    return calls[0]


def _calls(tree: ast.Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            for decorator in node.decorator_list:
                function = decorator.func if isinstance(decorator, ast.Call) else None
                if DECORATOR in (getattr(function, "id", None), getattr(function, "attr", None)):
                    assert isinstance(decorator, ast.Call)
                    yield decorator


def _place(starts: list[int], node: ast.expr) -> tuple[int, int]:
    """Where an expression begins and ends, in bytes."""
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _insertion(text: bytes, starts: list[int], anchor: ast.expr, argument: str) -> tuple[int, int, str]:
    """An argument on a line of its own below the anchor's if that has one, otherwise right behind the anchor."""
    begin, end = _place(starts, anchor)
    line = text[starts[anchor.lineno - 1] : begin]
    own_line, rest = re.fullmatch(rb"([ \t]+)\w+\s*=\s*", line), _REST_OF_LINE.match(text, end)
    if own_line and rest:
        return rest.end(), rest.end(), f"{own_line[1].decode()}{argument},{rest[1].decode()}"
    return end, end, f", {argument}"


def _without(source: bytes, name: str, values: Mapping[str, int]) -> str:
    """All that Python sees in ``source``, except for the arguments that are replaced."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    if encoding not in ("utf-8", "utf-8-sig"):
        raise _RefusedError(f"its file is in {encoding}, not in UTF-8")
    tree = ast.parse(source)
    call = _call(tree, name)
    call.keywords = [argument for argument in call.keywords if argument.arg not in values]
    return ast.dump(tree)
