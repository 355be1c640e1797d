"""Print ``docs/api.md``, the public Python API, read from the sources without importing them. ``make docs`` runs it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"

FACES = (
    "cnn_registry",
    "cnn_registry.blocks",
    "cnn_registry.data",
    "cnn_registry.errors",
    "cnn_registry.explain",
    "cnn_registry.inference",
    "cnn_registry.runs",
    "cnn_registry.testing",
)
"""The modules to import from."""

HEAD = """\
# Python API

<!-- Written by docs/make_api.py; do not edit. -->

Import from the modules on this page and from no others, which may change without notice. Each docstring describes the
arguments, with shapes and units, and the errors. [CONTRIBUTING.md](../CONTRIBUTING.md#public-api) says how long a name
that moves stays available under its old name.
"""

WIDTH = 100
"""A longer signature has one line per argument."""


@dataclass(frozen=True)
class Module:
    """A parsed source file.

    Attributes:
        name: its dotted name.
        text: its source.
        definitions: what it defines or imports at its top level, by name.
        docs: docstrings below assignments, by the assigned name.
    """

    name: str
    text: str
    definitions: Mapping[str, ast.stmt]
    docs: Mapping[str, str]

    @cached_property
    def lines(self) -> list[bytes]:
        """The source's lines in UTF-8, by which nodes know their places."""
        return self.text.encode().split(b"\n")

    def source(self, node: ast.expr) -> str:
        """A node's text in one line. `ast.get_source_segment` would split the file into lines for each node."""
        assert node.end_lineno is not None
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        return " ".join(b" ".join(lines).decode().split())


@dataclass(frozen=True)
class Definition:
    """A definition and the module that has it."""

    module: Module
    node: ast.stmt


@cache
def parse(name: str) -> Module:
    """Parse a module of the package."""
    path = SOURCE.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = file.read_text(encoding="utf-8")
    definitions: dict[str, ast.stmt] = {}
    docs: dict[str, str] = {}
    before: list[str] = []
    for node in top_level(ast.parse(text).body):
        names = list(bound(node))
        definitions |= dict.fromkeys(names, node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docs |= dict.fromkeys(before, inspect.cleandoc(node.value.value))
        before = names
    return Module(name, text, definitions, docs)


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, with those under ``if TYPE_CHECKING``."""
    for node in body:
        if isinstance(node, ast.If):
            yield from top_level(node.body)
        else:
            yield node


def bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement binds."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=[ast.Name(id=name)]):
            yield name
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names)


def public_names(face: str) -> list[str]:
    """What a face exports: what it imports as itself (``x as x``), or else its literal ``__all__``."""
    module = parse(face)
    imported = [
        alias.asname
        for node in set(module.definitions.values())
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    ]
    if not imported:
        exported = module.definitions["__all__"]
        assert isinstance(exported, ast.Assign)
        imported = ast.literal_eval(exported.value)
    return sorted(imported, key=str.lower)


def find(module: Module, name: str) -> Definition | None:
    """Where a name that a module uses is defined, or ``None`` for a name from elsewhere."""
    node = module.definitions.get(name)
    if not isinstance(node, ast.ImportFrom):
        return Definition(module, node) if node else None
    package = module.name if (SOURCE / Path(*module.name.split("."))).is_dir() else module.name.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    home = ".".join(filter(None, [package if node.level else "", node.module]))
    if home.partition(".")[0] != FACES[0]:
        return None
    original = next(alias.name for alias in node.names if name in (alias.asname, alias.name))
    return None if f"{home}.{original}" in FACES else find(parse(home), original)


def main() -> None:
    """Print the page."""
    print("\n".join([HEAD, *(line for face in FACES for line in section(face))]), end="")


def section(face: str) -> Iterator[str]:
    """A face: what it is for, and its names."""
    module = parse(face)
    yield f"## `{face}`\n\n{first_line(ast.parse(module.text))}\n"
    public = {name for other in FACES for name in public_names(other)}
    for name in public_names(face):
        definition = find(module, name)
        if definition is None:  # a face in a face
            continue
        if face != FACES[0] and find(parse(FACES[0]), name) == definition:
            yield f"### {name}\n\nSee `{FACES[0]}.{name}`.\n"
        else:
            yield "\n".join(entry(name, definition, public))


def entry(name: str, definition: Definition, public: Container[str]) -> Iterator[str]:
    """A public name: its signature, what the aliases in it stand for, its first docstring line, and its members."""
    module, node = definition.module, definition.node
    yield f"### {name}\n"
    yield f"```python\n{shown(name, definition)}\n```\n"
    text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef | ast.ClassDef) else module.docs[name]
    yield (text or "").partition("\n")[0] + "\n"
    explained = [f"- `{text}`" for text in types(definition, public)]
    if explained:
        yield "\n".join([*explained, ""])
    if isinstance(node, ast.ClassDef):
        members = [f"- `{text}`: {about}" for text, about in class_members(definition, public)]
        if members:
            yield "\n".join([*members, ""])


def shown(name: str, definition: Definition) -> str:
    """A definition as a call, or an alias with its value."""
    module, node = definition.module, definition.node
    match node:
        case ast.FunctionDef():
            return function(name, node, module)
        case ast.ClassDef():
            bases = ", ".join(map(module.source, node.bases))
            return f"class {call(name, parameters_of_class(definition))}" + (f"  # {bases}" if bases else "")
        case ast.Assign() | ast.AnnAssign():
            value = alias_of(node)
            if value:
                return f"{name} = {module.source(value)}"
            assert isinstance(node, ast.AnnAssign)
            return f"{name}: {module.source(node.annotation)}"
    raise TypeError(f"{name} of {module.name} is not a function, a class or an assignment")


def function(name: str, node: ast.FunctionDef, module: Module) -> str:
    """A function's signature."""
    returns = f" -> {module.source(node.returns)}" if node.returns else ""
    return call(name, parameters(node, module), returns)


def call(name: str, given: list[str], returns: str = "") -> str:
    """A call in one line, or with one line per argument."""
    line = f"{name}({', '.join(given)}){returns}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {parameter}," for parameter in given), f"){returns}"])


def parameters(node: ast.FunctionDef, module: Module) -> list[str]:
    """The parameters of a function or method, without ``self`` and ``cls``."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    found = [
        parameter(argument, default, module)
        for argument, default in zip(positional, defaults, strict=True)
        if argument.arg not in ("self", "cls")
    ]
    if arguments.vararg:
        found.append(f"*{parameter(arguments.vararg, None, module)}")
    elif arguments.kwonlyargs:
        found.append("*")
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    found += [parameter(argument, default, module) for argument, default in keyword_only]
    if arguments.kwarg:
        found.append(f"**{parameter(arguments.kwarg, None, module)}")
    return found


def parameter(argument: ast.arg, default: ast.expr | None, module: Module) -> str:
    """A parameter with its type and its default."""
    text = argument.arg + (f": {module.source(argument.annotation)}" if argument.annotation else "")
    return text + (f" = {module.source(default)}" if default else "")


def parameters_of_class(definition: Definition) -> list[str]:
    """What a class is called with: the parameters of its ``__init__``, or its fields."""
    fields: dict[str, str] = {}
    keyword_only = False
    for module, node in reversed(list(lineage(definition))):
        for statement in node.body:
            match statement:
                case ast.FunctionDef(name="__init__"):
                    fields = {text: text for text in parameters(statement, module)}
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                    if not name.startswith("_"):
                        fields[name] = f"{name}: {module.source(annotation)}{field_default(value, module)}"
        keyword_only |= any("kw_only=True" in module.source(decorator) for decorator in node.decorator_list)
    return [*(["*"] if keyword_only else []), *fields.values()]


def field_default(value: ast.expr | None, module: Module) -> str:
    """The default of a field, as it follows the type."""
    if isinstance(value, ast.Call) and module.source(value.func) in ("field", "Field"):
        given = {keyword.arg: module.source(keyword.value) for keyword in value.keywords}
        if "default_factory" in given:
            empty = {"dict": "{}", "list": "[]"}
            return f" = {empty[given['default_factory']]}"
        return f" = {given['default']}" if "default" in given else ""
    return f" = {module.source(value)}" if value else ""


def lineage(definition: Definition) -> Iterator[tuple[Module, ast.ClassDef]]:
    """A class and the classes of this package that it inherits from, the nearest first."""
    module, node = definition.module, definition.node
    assert isinstance(node, ast.ClassDef)
    yield module, node
    for base in node.bases:
        found = find(module, base.id) if isinstance(base, ast.Name) else None
        if found and isinstance(found.node, ast.ClassDef):
            yield from lineage(found)


def class_members(definition: Definition, public: Container[str]) -> Iterator[tuple[str, str]]:
    """Public methods and properties with their first docstring line; those of another public class are listed there."""
    seen: set[str] = set()
    for module, node in lineage(definition):
        if node is not definition.node and node.name in public:
            return
        for member in node.body:
            if not isinstance(member, ast.FunctionDef) or member.name.startswith("_") or member.name in seen:
                continue
            seen.add(member.name)
            decorators = {module.source(decorator) for decorator in member.decorator_list}
            if "property" in decorators:
                assert member.returns is not None
                yield f"{member.name}: {module.source(member.returns)}", first_line(member)
            else:
                owner = f"{node.name}." if decorators & {"classmethod", "staticmethod"} else ""
                yield " ".join(function(owner + member.name, member, module).split()), first_line(member)


def types(definition: Definition, public: Container[str]) -> Iterator[str]:
    """The types in annotations that are not public: what an alias stands for, and the fields of a field's class."""
    is_class = isinstance(definition.node, ast.ClassDef)
    owners = lineage(definition) if is_class else [(definition.module, definition.node)]
    seen: set[str] = set()
    for module, owner in owners:
        for annotated, name in annotation_names(owner):
            found = None if name in public or name in seen else find(module, name)
            if found is None:
                continue
            seen.add(name)
            if value := alias_of(found.node):
                yield f"{name} = {found.module.source(value)}"
            elif is_class and isinstance(annotated, ast.AnnAssign) and isinstance(found.node, ast.ClassDef):
                yield f"{name}({', '.join(parameters_of_class(found))})"


def annotation_names(owner: ast.AST) -> Iterator[tuple[ast.arg | ast.AnnAssign, str]]:
    """The parameters and fields of a definition, each with the names in its annotation."""
    for node in ast.walk(owner):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            for part in ast.walk(node.annotation):
                if isinstance(part, ast.Name):
                    yield node, part.id


def alias_of(node: ast.stmt) -> ast.expr | None:
    """The value of an assignment whose name is only another name for it."""
    if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) != "TypeAlias":
        return None
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def first_line(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """The first line of a docstring."""
    return (ast.get_docstring(node) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
