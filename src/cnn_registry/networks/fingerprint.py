"""A network's fingerprint: equal for networks that compute the same, whatever version of a package built them.

It covers the operations in the order in which data flows, their settings, the shapes of their outputs and weights, and
the source of a plugin's own layers and functions, with the functions and constants of its package that these use. It
does not depend on names, on the values of weights or how they are initialized, on the dtype policy, on what is frozen,
or on what was built before.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.backend.keras_internals import Call, call_of, has_graph

if TYPE_CHECKING:
    import keras

FORM, FORM_WITH_TAKEN = 1, 2
"""Grows when a fingerprint is computed in another way. Those of two forms cannot be compared.

The second is that of networks whose code takes something from its module, which the first did not cover.
"""

LIBRARIES = {"builtins", "cnn_registry", "jax", "keras", "numpy", "tensorflow", "torch"}
"""Code from these packages is identified by name. All other code is the plugin's, identified by its source."""

TAKEN = "taken"
"""The key of what code takes from its module."""

CONSTANTS = (bool, int, float, complex, str, bytes, tuple, frozenset, np.ndarray, np.generic)
"""Lists, dictionaries and sets of a module are often what code remembers, not what it computes with."""

IRRELEVANT = {"build_config", "module", "name", "registered_name", "seed", "shared_object_id", "trainable"}
"""Settings that change neither what a trained network computes nor how it is trained further."""


def fingerprint(model: keras.Model) -> str:
    """The fingerprint of a built network, ``"<form>:<SHA-256>"``.

    It covers the graph of functional and sequential models, also of nested ones. For a model with its own ``call``, it
    covers the source of the class and the layers that it holds, in their order.

    Args:
        model: built; where it has auxiliary heads, they are part of it. `main_network` removes them.
    """
    text = json.dumps(_operation(model), sort_keys=True, separators=(",", ":"))
    form = FORM_WITH_TAKEN if f'"{TAKEN}":' in text else FORM  # within a JSON string, quotes are escaped
    return f"{form}:{sha256(text.encode()).hexdigest()}"


def _operation(operation: Any) -> dict[str, Any]:
    """A layer, a model or a function of ``keras.ops``, as JSON-ready data."""
    keras = backend.keras()
    own_classes = [cls for cls in type(operation).__mro__ if _is_own(cls)]
    described: dict[str, Any] = {"code": [_code(cls) for cls in own_classes]}
    if outputs := _outputs(operation):
        return described | {"graph": _graph(operation.inputs, outputs)}
    is_model = isinstance(operation, keras.Model)
    return described | {
        "kind": "layers" if type(operation) is keras.Sequential else type(operation).__qualname__,
        "settings": _setting(_settings(operation)),
        "functions": {name: _function(value) for name, value in _functions(operation)},
        "layers": [_operation(layer) for layer in operation.layers] if is_model else [],
        "parts": [_operation(part) for part in _parts(operation)] if own_classes and not is_model else [],
        "weights": [list(weight.shape) for weight in getattr(operation, "weights", ())],
    }


def _outputs(operation: Any) -> dict[str, Any]:
    """The outputs of a model with a graph by their names, or by their positions where they have none."""
    if not isinstance(operation, backend.keras().Model) or not has_graph(operation):
        return {}
    named = getattr(operation, "output", None)  # a sequential model has none
    return dict(named) if isinstance(named, dict) else {str(i): tensor for i, tensor in enumerate(operation.outputs)}


def _graph(inputs: Iterable[Any], outputs: Mapping[str, Any]) -> dict[str, Any]:
    """The calls of operations between ``inputs`` and ``outputs``, each after those whose results it takes.

    The order follows from the graph alone, so that it does not matter in which order a builder wrote the branches.
    """
    places = {id(tensor): ["input", position] for position, tensor in enumerate(inputs)}
    shapes = [list(tensor.shape) for tensor in inputs]
    operations: dict[int, int] = {}
    described, calls = [], []
    for call in _calls(outputs, set(places)):
        if id(call.operation) not in operations:
            operations[id(call.operation)] = len(operations)
            described.append(_operation(call.operation))
        calls.append(
            {
                "operation": operations[id(call.operation)],  # again the same number where its weights are shared
                "arguments": _argument([call.args, call.kwargs], places),
                "shapes": [list(tensor.shape) for tensor in call.outputs],
            }
        )
        places |= {id(tensor): [len(calls) - 1, position] for position, tensor in enumerate(call.outputs)}
    return {
        "inputs": shapes,
        "operations": described,
        "calls": calls,
        "outputs": {name: places[id(tensor)] for name, tensor in outputs.items()},
    }


def _calls(outputs: Mapping[str, Any], known: set[int]) -> Iterator[Call]:
    """The calls that lead to ``outputs``, depth first; ``known`` are the identities of the tensors to begin with."""
    waiting = [tensor for _, tensor in sorted(outputs.items(), reverse=True)]
    while waiting:
        if id(waiting[-1]) in known:
            waiting.pop()
            continue
        call = call_of(waiting[-1])
        missing = [tensor for tensor in call.inputs if id(tensor) not in known]
        if missing:
            waiting += reversed(missing)
            continue
        known |= {id(tensor) for tensor in call.outputs}
        yield call


def _argument(value: Any, places: Mapping[int, Any]) -> Any:
    """An argument of a call, its tensors as the places that they come from."""
    if id(value) in places:
        return {"from": places[id(value)]}
    if isinstance(value, Mapping):
        return {str(key): _argument(item, places) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_argument(item, places) for item in value]
    return _value(value)


def _settings(operation: Any) -> Mapping[str, Any]:
    """The settings of an operation; of one that does not tell them, its own attributes."""
    try:
        config: Mapping[str, Any] = operation.get_config()
    except Exception:  # Keras raises NotImplementedError; a plugin's own method may raise anything
        of_any_model = vars(backend.keras().Model()).keys() | {"optimizer", "stop_training"}
        return {k: v for k, v in vars(operation).items() if not k.startswith("_") and k not in of_any_model}
    return config


def _setting(value: Any) -> Any:
    """A setting as JSON-ready data, without what is off, so that a setting that a later Keras adds changes nothing."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__lambda__":
            return "lambda"  # its code is a matter of `_functions`; here it would be that of one version of Python
        kept = {str(key): _setting(item) for key, item in value.items() if _is_relevant(str(key), item)}
        return {
            key: item for key, item in kept.items() if item is not None and item is not False and item not in ([], {})
        }
    if isinstance(value, list | tuple):
        return [_setting(item) for item in value]
    return _value(value)


def _is_relevant(key: str, value: Any) -> bool:
    if key == "dtype":  # of an operation that rounds or counts, an integer type
        return isinstance(value, str) and "float" not in value
    return key not in IRRELEVANT and not key.endswith("initializer")


def _value(value: Any) -> Any:
    """Anything that is neither a list nor a mapping."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, slice):
        return {"slice": [_value(part) for part in (value.start, value.stop, value.step)]}
    if isinstance(value, backend.keras().Variable):
        return {"variable": list(value.shape)}
    if inspect.isfunction(value):
        return _function(value)
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    try:
        array = np.asarray(backend.keras().ops.convert_to_numpy(value))
    except Exception:  # any object, which no backend can convert
        return type(value).__qualname__
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return array.item()
    if array.dtype.kind not in "biuf":
        return type(value).__qualname__
    wide = array.astype(np.float64 if array.dtype.kind == "f" else np.int64)
    return {"array": list(array.shape), "sha256": sha256(np.ascontiguousarray(wide).tobytes()).hexdigest()}


def _functions(operation: Any) -> Iterator[tuple[str, Any]]:
    """The plugin's own functions among an operation's attributes, for instance an activation."""
    for name, value in sorted(vars(operation).items()):
        if inspect.isfunction(value) and _is_own(value) and name not in ("build", "call", "quantize"):
            yield name, value


def _parts(layer: Any) -> Iterator[Any]:
    """The layers that a layer of the plugin's holds, by the names of its attributes."""
    keras = backend.keras()
    for name, value in sorted(vars(layer).items()):
        if not name.startswith("_"):
            items = keras.tree.flatten(value) if isinstance(value, dict | list | tuple) else [value]
            yield from (item for item in items if isinstance(item, keras.layers.Layer))


def _function(function: Any) -> Any:
    """A function: its name for a library's; for the plugin's own, its source and what it takes from around it."""
    if not _is_own(function):
        return function.__qualname__
    around = inspect.getclosurevars(function).nonlocals if function.__closure__ else {}
    return {
        "code": _code(function),
        "defaults": _setting(list(function.__defaults__ or ())),
        "around": {name: _value(value) for name, value in around.items()},
    }


def _is_own(thing: Any) -> bool:
    """Whether a class or function is neither Python's nor of one of `LIBRARIES`."""
    return _package(thing) not in LIBRARIES


def _package(thing: Any) -> str:
    """The top package that a class or function is of."""
    return str(thing.__module__).partition(".")[0]


def _code(thing: Any, around: frozenset[int] = frozenset()) -> Any:
    """The source of a class or function without comments, docstrings and layout, and what it takes from its module.

    Args:
        thing: the class or function; it is identified by its name where there is no source.
        around: the identities of those that lead to it.
    """
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):  # typed at a prompt, or compiled
        return f"{thing.__module__}.{thing.__qualname__}"
    try:
        tree = ast.parse(source)
    except SyntaxError:  # part of a statement, as a lambda may be
        return " ".join(source.split())
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    taken = dict(sorted(_taken(thing, tree, around | {id(thing)})))
    return {"source": ast.unparse(tree), TAKEN: taken} if taken else ast.unparse(tree)


def _taken(thing: Any, tree: ast.AST, around: frozenset[int]) -> Iterator[tuple[str, Any]]:
    """The functions, classes and constants of its own package that the source of a class or function names."""
    package = _package(thing)
    module = vars(sys.modules.get(thing.__module__, object)) if inspect.isclass(thing) else thing.__globals__
    assigned = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)}
    for name in names - assigned:
        first, _, rest = name.partition(".")
        value = module.get(first)
        if inspect.ismodule(value) and value.__name__.partition(".")[0] == package:
            value = vars(value).get(rest)
        elif rest:
            continue
        if isinstance(value, CONSTANTS):
            yield name, _argument(value, {})
        elif (
            id(value) not in around
            and (inspect.isclass(value) or inspect.isfunction(value))
            and _package(value) == package
        ):
            yield name, _code(value, around)
