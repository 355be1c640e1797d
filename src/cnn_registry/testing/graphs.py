"""Checks of a network's graph. No weights are made for them, so that the largest model costs a second."""

from __future__ import annotations

import ast
import inspect
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from cnn_registry import backend
from cnn_registry.errors import InputShapeError, UnknownOptionError
from cnn_registry.networks.build import create_model
from cnn_registry.networks.graph import MAIN, cost, main_network

from .outcome import CheckSkipped, failed
from .subject import Subject, layers_of, output_of

LARGER_BY = 64
"""Pixels more than the default: a multiple of every usual stride, so that the maps tell their strides."""


def check_parameters(subject: Subject) -> None:
    """The declared numbers of parameters are those of the network with 1000 classes."""
    spec, model = subject.spec, subject.graph()
    counted = _count(model.trainable_weights), _count(model.non_trainable_weights)
    declared = spec.trainable_params, spec.non_trainable_params
    if counted != declared:
        raise failed(
            "{:,} trainable and {:,} other parameters as declared".format(*declared),
            "{:,} and {:,} in the network".format(*counted),
            f"Declare trainable_params={counted[0]:_}, non_trainable_params={counted[1]:_}, or mend the network.",
        )


def _count(weights: Iterable[Any]) -> int:
    """The states of dropout's generators, which are whole numbers, are no parameters."""
    return sum(math.prod(weight.shape) for weight in weights if "float" in weight.dtype)


def check_macs(subject: Subject) -> None:
    """The declared MACs are those of the network at its default size."""
    if not subject.spec.macs:
        raise CheckSkipped("it declares no MACs")
    counted = cost(subject.graph()).macs
    if counted != subject.spec.macs:
        raise failed(
            f"{subject.spec.macs:,} MACs as declared", f"{counted:,} in the network", f"Declare macs={counted:_}."
        )


def check_sizes(subject: Subject) -> None:
    """It builds at its default size, at a larger, a smaller and a non-square one."""
    height, width, channels = subject.spec.input_shape
    small_height, small_width, _ = subject.small_shape
    for shape in (
        (height, width, channels),
        (height + LARGER_BY, width + LARGER_BY, channels),
        (small_height, small_width, channels),
        (small_height + 16, small_width + 33, channels),
    ):
        model = subject.graph(shape)
        _require_shape(output_of(model), 1000, f"of an input of {'x'.join(map(str, shape))}")
        _require_input(model, shape)


def _require_input(model: Any, shape: tuple[int, int, int]) -> None:
    """A subclassed model takes whatever it is called with, and has no such attribute."""
    came = getattr(model, "input_shape", (None, *shape))
    if tuple(came) != (None, *shape):
        raise failed(f"a network for any number of images {shape}", str(came), "Use keras.Input(input_shape).")


def _require_shape(output: Any, num_classes: int, where: str) -> None:
    if tuple(output.shape) != (None, num_classes):
        raise failed(
            f"an output (None, {num_classes}) {where}",
            str(tuple(output.shape)),
            "End the network in a pooling over all places, or a flattening, and a dense layer of num_classes units.",
        )


def check_smallest(subject: Subject) -> None:
    """It builds at its smallest size with no empty map, and refuses one pixel less by name."""
    least, channels = subject.spec.min_size, subject.spec.input_shape[2]
    mend = "Raise min_size to the smallest size that works."
    try:
        model = subject.graph((least, least, channels))
    except Exception as error:  # whatever a builder raises where a map vanishes
        raise failed(f"a network at the smallest size {least}x{least}", str(error).rstrip("."), mend) from error
    if empty := [layer.name for layer in layers_of(model) if 0 in getattr(layer.output, "shape", ())]:
        raise failed(f"maps of at least one pixel at {least}x{least}", f"an empty output of {empty[0]}", mend)
    try:
        create_model(subject.name, input_shape=(least - 1, least, channels))
    except InputShapeError:
        return
    raise failed(f"an InputShapeError at {least - 1}x{least}", "a network", mend)


def check_classes(subject: Subject) -> None:
    """It builds for 1, 2, 10 and 1000 classes."""
    for num_classes in (1, 2, 10, 1000):
        model = subject.graph(subject.small_shape, num_classes)
        _require_shape(output_of(model), num_classes, f"with num_classes={num_classes}")


def check_channels(subject: Subject) -> None:
    """It builds for images of 1, 3 and 4 channels."""
    height, width, _ = subject.small_shape
    for channels in (1, 3, 4):
        _require_input(subject.graph((height, width, channels)), (height, width, channels))


def check_options(subject: Subject) -> None:
    """Unknown options are refused, and the options' defaults are those that the spec tells."""
    spec = subject.spec
    unknown: dict[str, Any] = {"no_such_option": None}
    try:
        create_model(subject.name, input_shape=subject.small_shape, **unknown)
    except UnknownOptionError:
        pass
    else:
        raise failed(f"an UnknownOptionError for {next(iter(unknown))!r}", "a network", "Take no **kwargs.")
    if not spec.options:
        return
    default = _outline(subject.graph(subject.small_shape))
    explicit = _outline(subject.graph(subject.small_shape, **spec.options))
    if default != explicit:
        first = next(pair for pair in zip(default, explicit, strict=False) if pair[0] != pair[1])
        raise failed(
            f"the same network with and without {', '.join(f'{k}={v!r}' for k, v in spec.options.items())}",
            f"{first[0]} without and {first[1]} with them",
            "Let the builder's signature name the defaults that it uses.",
        )


def _outline(model: Any) -> list[str]:
    """A line for each layer, and one that says how many there are. Whether names are stable is another check's."""
    layers = list(layers_of(model))
    outline = [
        f"{type(layer).__name__} {layer.count_params()} {getattr(layer.output, 'shape', '')}" for layer in layers
    ]
    return [*outline, f"{len(layers)} layers"]


def check_aux_heads(subject: Subject) -> None:
    """The auxiliary heads have the declared names, and are not in the network that infers."""
    spec = subject.spec
    if not spec.aux_heads and "aux_heads" not in spec.options:
        raise CheckSkipped("it declares no auxiliary heads")
    if spec.options.get("aux_heads", None) is not False or not spec.aux_heads:
        raise failed(
            "declared aux_heads together with an option aux_heads=False",
            f"heads {sorted(spec.aux_heads)} and the options {dict(spec.options)}",
            "Declare the heads' loss weights, and give the builder that option.",
        )
    if wrong := {name: weight for name, weight in spec.aux_heads.items() if not 0 < weight <= 1}:
        raise failed("loss weights above 0 and up to 1", str(wrong), "The main loss has weight 1.")
    heads = subject.graph(subject.small_shape, 10, aux_heads=True)
    outputs = heads.output if isinstance(heads.output, dict) else {}
    if outputs.keys() != {MAIN, *spec.aux_heads}:
        raise failed(
            f"with aux_heads=True a dict of outputs {sorted({MAIN, *spec.aux_heads})}",
            f"{sorted(outputs) or 'no dict'}",
            "Return keras.Model(inputs, {...}) with the declared names.",
        )
    for name, output in outputs.items():
        _require_shape(output, 10, f"of the head {name!r}")
    plain = subject.graph(subject.small_shape, 10)
    output_of(plain)
    if _outline(main_network(heads)) != _outline(plain):
        raise failed(
            "without heads the network that leads to 'predictions' with them",
            "other layers",
            "Build the trunk alike in both forms: what a training with heads saves is loaded without them.",
        )


def check_features(subject: Subject) -> None:
    """The features are layers of the declared shapes, and their names tell their strides."""
    spec = subject.spec
    if not spec.features:
        raise CheckSkipped("it names no features")
    height, width, channels = spec.input_shape
    model, larger = subject.graph(), subject.graph((height + LARGER_BY, width + LARGER_BY, channels))
    known = {layer.name for layer in layers_of(model)}
    heights = []
    for name, feature in spec.features.items():
        if feature.layer not in known:
            raise failed(f"a layer {feature.layer!r} for the feature {name!r}", "none", "Name the layer as it is.")
        shape = tuple(model.get_layer(feature.layer).output.shape[1:])
        if shape != tuple(feature.shape):
            raise failed(f"the feature {name!r} to be {feature.shape}", str(shape), "Declare its true shape.")
        heights.append(shape[0])
        grown = larger.get_layer(feature.layer).output.shape[1] - shape[0]
        stride = re.fullmatch(r"stride(\d+)", name)
        if stride and grown * int(stride[1]) != LARGER_BY:
            raise failed(
                f"{name!r} to be {LARGER_BY}/{stride[1]} pixels taller for an image {LARGER_BY} pixels taller",
                f"{grown}",
                "Name the feature after its true stride, or another layer.",
            )
    if heights != sorted(heights, reverse=True):
        raise failed("features from the first to the last map", f"heights {heights}", "Declare them in order.")
    _check_headless(subject, channels=list(spec.features.values())[-1].shape[-1])


def _check_headless(subject: Subject, channels: int) -> None:
    headless = subject.new_graph(subject.small_shape, 1000, include_top=False, pooling="avg")
    if tuple(headless.output.shape) != (None, channels):
        raise failed(
            f"(None, {channels}) without the top, pooled", str(headless.output.shape), "Let the last feature be a map."
        )


def check_names(subject: Subject) -> None:
    """The model and its layers have names of their own, the same in every build."""
    spec, first = subject.spec, subject.graph()
    if first.name != spec.name:
        raise failed(f"a model named {spec.name!r}", repr(first.name), f"keras.Model(..., name={spec.name!r}).")
    names, again = (
        [layer.name for layer in layers_of(model)] for model in (first, subject.new_graph(spec.input_shape, 1000))
    )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise failed("layers with different names", f"{twice[0]!r} twice", "Give each layer a name of its own.")
    if unstable := [name for name, other in zip(names, again, strict=False) if name != other]:
        raise failed(
            "the same names of layers in two builds",
            f"{unstable[0]!r} in one of them alone",
            "Name every layer; Keras numbers those without a name by what was built before.",
        )


def check_no_lambda(subject: Subject) -> None:
    """No layer is a Lambda, which safe loading refuses."""
    keras = backend.keras()
    if found := [layer.name for layer in layers_of(subject.graph()) if isinstance(layer, keras.layers.Lambda)]:
        raise failed(
            "no Lambda layer",
            f"{', '.join(found)}",
            "Use keras.ops on the tensor directly, or a registered layer of your own.",
        )


def check_no_tensorflow(subject: Subject) -> None:
    """No module of the network imports TensorFlow, which other backends do not have."""
    for module in _modules_of(subject):
        for line in _tensorflow_imports(module):
            raise failed(
                "a network written with keras alone",
                f"an import of TensorFlow in {module.__name__}, line {line}",
                "keras.ops has the operations that layers need, on every backend.",
            )


def _modules_of(subject: Subject) -> list[ModuleType]:
    """The builder's module with those beside and below it that are imported, and those of the network's layers."""
    root = subject.spec.build.__module__
    if subject.spec.provider.distribution:
        root = root.partition(".")[0]
    own = {type(layer).__module__ for layer in layers_of(subject.graph())}
    own = {name for name in own if name.partition(".")[0] not in ("keras", "cnn_registry")}
    return [
        module
        for name, module in sorted(sys.modules.copy().items())
        if isinstance(module, ModuleType) and (name in own or name == root or name.startswith(f"{root}."))
    ]


def _tensorflow_imports(module: ModuleType) -> Iterator[int]:
    """The lines of ``module`` that import TensorFlow; none where its source is not at hand."""
    try:
        source = Path(inspect.getsourcefile(module) or "").read_text(encoding="utf-8")
    except (OSError, TypeError):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        if any(name.partition(".")[0] == "tensorflow" for name in names):
            yield node.lineno
