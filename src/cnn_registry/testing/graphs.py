"""Checks of a network's graph. They allocate no weights, so even the largest model takes about a second."""

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

from .outcome import CheckFailed, CheckSkipped, failed
from .subject import Subject, layers_of, output_of

LARGER_BY = 64
"""Pixels more than the default size: a multiple of every usual stride, so that maps reveal their strides."""


def check_builds(subject: Subject) -> None:
    """It builds at its default size with 1000 classes."""
    subject.graph()


def check_parameters(subject: Subject) -> None:
    """The declared numbers of parameters are those of the network with 1000 classes."""
    spec, model = subject.spec, subject.graph()
    counted = _count(model.trainable_weights), _count(model.non_trainable_weights)
    declared = spec.trainable_params, spec.non_trainable_params
    if counted != declared:
        names = "trainable_params", "non_trainable_params"
        raise failed(
            "{:,} trainable and {:,} other parameters as declared".format(*declared),
            "{:,} and {:,} in the network".format(*counted),
            f"Declare trainable_params={counted[0]:_}, non_trainable_params={counted[1]:_}, or fix the network.",
            {name: new for name, new, old in zip(names, counted, declared, strict=True) if new != old},
        )


def _count(weights: Iterable[Any]) -> int:
    """The number of parameters, as ``keras.Model.count_params()`` counts them."""
    return sum(math.prod(weight.shape) for weight in weights)


def check_macs(subject: Subject) -> None:
    """The declared MACs are those of the network at its default size."""
    counted = cost(subject.graph()).macs
    if not subject.spec.macs:
        raise CheckSkipped(f"it declares no MACs; the network has {counted:,}", {"macs": counted})
    if counted != subject.spec.macs:
        expected, came = f"{subject.spec.macs:,} MACs as declared", f"{counted:,} in the network"
        raise failed(expected, came, f"Declare macs={counted:_}.", {"macs": counted})


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
        _require_shape(output_of(model), 1000, f"for an input of {'x'.join(map(str, shape))}")
        _require_input(model, shape)


def _require_input(model: Any, shape: tuple[int, int, int]) -> None:
    """A subclassed model accepts any input and has no such attribute."""
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


def _larger(subject: Subject) -> Any:
    """The network for larger images, built after the one of the default size."""
    height, width, channels = subject.spec.input_shape
    return subject.graph((height + LARGER_BY, width + LARGER_BY, channels))


def check_smallest(subject: Subject) -> None:
    """It builds at its smallest size without empty maps, and refuses one pixel less."""
    least, channels = subject.spec.min_size, subject.spec.input_shape[2]
    subject.graph()
    try:
        model = subject.graph((least, least, channels))
    except Exception as error:  # whatever a builder raises where a map vanishes
        failure = _too_small(subject, f"a network at the smallest size {least}x{least}", str(error))
        raise subject.causes.meet_error(error, failure) from error
    if empty := _empty_output(model):
        raise _too_small(subject, f"maps of at least one pixel at {least}x{least}", f"an empty output of {empty}")
    try:
        create_model(subject.name, input_shape=(least - 1, least, channels))
    except InputShapeError:
        return
    raise failed(f"an InputShapeError at {least - 1}x{least}", "a network", "The registry refuses such a size.")


def _too_small(subject: Subject, expected: str, came: str) -> CheckFailed:
    """The failure of the declared smallest size, with the size to declare."""
    found = _smallest(subject)
    if found is None:
        return failed(expected, came, "Raise min_size to the smallest size that works.")
    return failed(expected, came, f"Declare min_size={found}.", {"min_size": found})


def _smallest(subject: Subject) -> int | None:
    """The smallest edge length that can be built, by bisection between the declared one and the default size.

    Returns ``None`` where not even squares of the default size can be built.
    """
    fails, works = subject.spec.min_size, min(subject.spec.input_shape[:2])
    if fails >= works or not _is_large_enough(subject, works):
        return None
    while works - fails > 1:
        middle = (fails + works) // 2
        fails, works = (fails, middle) if _is_large_enough(subject, middle) else (middle, works)
    return works


def _is_large_enough(subject: Subject, edge: int) -> bool:
    try:
        return not _empty_output(subject.new_graph((edge, edge, subject.spec.input_shape[2]), 1000))
    except Exception:  # as above
        return False


def _empty_output(model: Any) -> str:
    """The name of the first layer whose output has no pixels, or an empty string."""
    return next((layer.name for layer in layers_of(model) if 0 in getattr(layer.output, "shape", ())), "")


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
    """Unknown options are refused, and the options have the defaults that the spec names."""
    spec = subject.spec
    unknown: dict[str, Any] = {"no_such_option": None}
    try:
        create_model(subject.name, input_shape=subject.small_shape, **unknown)
    except UnknownOptionError:
        pass
    else:
        raise failed(
            f"an UnknownOptionError for {next(iter(unknown))!r}", "a network", "The builder must not accept **kwargs."
        )
    if not spec.options:
        return
    default = _outline(subject.graph(subject.small_shape))
    explicit = _outline(subject.graph(subject.small_shape, **spec.options))
    if default != explicit:
        first = next(pair for pair in zip(default, explicit, strict=False) if pair[0] != pair[1])
        raise failed(
            f"the same network with and without {', '.join(f'{k}={v!r}' for k, v in spec.options.items())}",
            f"{first[0]} without and {first[1]} with them",
            "Put the defaults that the builder uses into its signature.",
        )


def _outline(model: Any) -> list[str]:
    """One line per layer, and one with their number. Another check examines the names."""
    layers = list(layers_of(model))
    outline = [
        f"{type(layer).__name__} {layer.count_params()} {getattr(layer.output, 'shape', '')}" for layer in layers
    ]
    return [*outline, f"{len(layers)} layers"]


def check_aux_heads(subject: Subject) -> None:
    """The auxiliary heads have the declared names, and are absent in inference."""
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
            "the same network to 'predictions' with and without heads",
            "different layers",
            "Build the trunk the same way in both forms: weights trained with heads are loaded without them.",
        )


def check_features(subject: Subject) -> None:
    """The features are layers with the declared shapes, and their names state their strides."""
    spec = subject.spec
    if not spec.features:
        raise CheckSkipped("it names no features")
    model, larger = subject.graph(), _larger(subject)
    known = {layer.name for layer in layers_of(model)}
    heights = []
    for name, feature in spec.features.items():
        if feature.layer not in known:
            raise failed(f"a layer {feature.layer!r} for the feature {name!r}", "none", "Use the layer's name.")
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
    """The model has its own name, and each layer with weights a name that is the same in every build."""
    spec, first, larger = subject.spec, subject.graph(), _larger(subject)
    if first.name != spec.name:
        raise failed(f"a model named {spec.name!r}", repr(first.name), f"keras.Model(..., name={spec.name!r}).")
    names = Counter(layer.name for layer in layers_of(first))
    if twice := [name for name, count in names.items() if count > 1]:
        raise failed("layers with different names", f"{twice[0]!r} twice", "Give each layer its own name.")
    # Weights are found by these names; those of features are examined with the features.
    weighted, again = ([layer.name for layer in layers_of(model) if layer.weights] for model in (first, larger))
    if unstable := [name for name, other in zip(weighted, again, strict=False) if name != other]:
        raise failed(
            "the same names of layers with weights in two builds",
            f"{unstable[0]!r} in only one of them",
            "Name every layer with weights; Keras numbers unnamed layers by what was built before.",
        )
    # Checkpoints find weights by their paths.
    paths = zip(first.weights, larger.weights, strict=False)
    if unstable := [weight.path for weight, other in paths if weight.path != other.path]:
        raise failed(
            "the same paths of weights in two builds",
            f"{unstable[0]!r} in only one of them",
            "Give add_weight a name, and name the layers in a layer; Keras numbers those without one.",
        )


def check_no_lambda(subject: Subject) -> None:
    """There are no Lambda layers, which safe loading refuses."""
    keras = backend.keras()
    if found := [layer.name for layer in layers_of(subject.graph()) if isinstance(layer, keras.layers.Lambda)]:
        raise failed(
            "no Lambda layer",
            f"{', '.join(found)}",
            "Use keras.ops on the tensor directly, or your own registered layer.",
        )


def check_no_tensorflow(subject: Subject) -> None:
    """The network's modules do not import TensorFlow, which other backends lack."""
    for module in _modules_of(subject):
        for line in _tensorflow_imports(module):
            raise failed(
                "a network written only with keras",
                f"an import of TensorFlow in {module.__name__}, line {line}",
                "keras.ops has the operations that layers need, for every backend.",
            )


def _modules_of(subject: Subject) -> list[ModuleType]:
    """The builder's module, the imported modules beside and below it, and those of the network's layers."""
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
    """The lines of ``module`` that import TensorFlow; none if its source is not available."""
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
