"""From a spec to a `keras.Model`: the one way in which models are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.backend import keras_internals
from cnn_registry.errors import (
    CnnRegistryError,
    ModelBuildError,
    UsageError,
)
from cnn_registry.registry.models import checked_input_shape, get_spec, is_count, refuse_unknown_options
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.isolation import isolated
from cnn_registry.text import counted, listing, one_line, suggestion

from .graph import MAIN, Pooling, feature_network, headless_network
from .memory import bytes_of, memory_reported, refuse_larger_than_memory
from .weights.source import find_source

if TYPE_CHECKING:
    import keras

InputShape = tuple[int | None, int | None, int]
"""``(height, width, channels)``; a size that is ``None`` may be any."""

Build = Callable[[InputShape], "keras.Model"]
Cut = Callable[["keras.Model"], "keras.Model"]

OTHER_SIZE = 33
"""Pixels more of an image whose size is compared with the model's own. An odd number also changes what is rounded."""

ONE_OUTPUT = "return one output, or declare auxiliary heads with register_model(aux_heads=...)"


@checked_arguments
def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    input_shape: InputShape | None = None,
    weights: str | Path | None = None,
    include_top: bool = True,
    pooling: Pooling | None = None,
    features: Sequence[str] | None = None,
    **options: Any,
) -> keras.Model:
    """Build a model by name.

    Args:
        name: a name from `list_models`, an alias, or ``distribution:name``.
        num_classes: number of outputs.
        input_shape: ``(height, width, channels)``; default the model's own. With ``None`` for height or width, the
            model takes images of any size, where the network or the wanted part of it does.
        weights: published weights that ``get_spec(name).weights`` names, for instance ``"keras:imagenet"``; or a
            file: ``.weights.h5`` as Keras saves it, or a PyTorch state dict in a ``.pth`` or ``.safetensors`` file.
            A classifier for other classes keeps its random initialization. Options that the weights need are set.
            Default random initialization.
        include_top: whether the model ends in its classifier, or in the last of its features; default true. What comes
            after the features is then not made and takes no memory.
        pooling: without the top: ``"avg"`` or ``"max"`` over each map; default the maps themselves.
        features: names of ``get_spec(name).features``: the model returns a dict of those maps instead.
        **options: the model's own options; see ``get_spec(name).options``.

    Whatever ``keras.json`` and `keras.config` say, images are channels-last, and weights and computations float32.
    Another precision is set layer by layer (``layer.dtype_policy``), or in training by the recipe's ``precision``.

    Returns:
        An uncompiled `keras.Model` from ``(batch, height, width, channels)`` to ``(batch, num_classes)``, to
        ``(batch, channels)`` or ``(batch, h, w, channels)`` without the top, or to a dict of maps.

    Raises:
        UnknownNameError, AmbiguousNameError, BrokenPluginError: as `get_spec`.
        UnknownOptionError: the model has no such option.
        InputShapeError: the shape is malformed, or smaller than the model can take.
        ModelBuildError: the builder failed.
        WeightsError, DownloadError: the weights do not fit, or cannot be read or fetched.
        BackendError: Keras or its backend is not installed.
        MissingPackageError: the library that reads the weights is not installed.
    """
    return build_model(
        get_spec(name),
        num_classes=num_classes,
        input_shape=input_shape,
        weights=weights,
        include_top=include_top,
        pooling=pooling,
        features=features,
        **options,
    )


def build_model(
    spec: ModelSpec,
    /,
    *,
    num_classes: int = 1000,
    input_shape: InputShape | None = None,
    weights: str | Path | None = None,
    include_top: bool = True,
    pooling: Pooling | None = None,
    features: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    **options: Any,
) -> keras.Model:
    """Build the model that ``spec`` describes; arguments, result and errors are those of `create_model`.

    Whoever has a spec builds with this: a name would be looked up, and its deprecation reported, a second time. With
    ``class_names``, the classes in the order of the outputs, the classifier of a weights file is only kept if it has
    the same ones.
    """
    refuse_unknown_options(spec, options)
    if not is_count(num_classes):
        raise UsageError(f"num_classes must be a positive integer; got {num_classes!r}.")
    shape = _checked_shape(spec, input_shape)
    _check_parts(spec, include_top, pooling, features)
    source = None if weights is None else find_source(spec, weights)
    options = source.options(options) if source else options

    def build(shape: InputShape) -> keras.Model:
        return _build(spec, shape, int(num_classes), options)

    with backend.standard_settings():
        if is_part := features is not None or not include_top:
            model = _part(spec, shape, build, _cut(spec, pooling, features))
        else:
            model = _made(spec, shape, build)
        if source:
            from .weights.load import load_weights

            whole = _fixed(spec, shape)
            load_weights(
                source,
                model,
                lambda channels=whole[2]: build((*whole[:2], channels)),
                class_names=class_names,
                is_part=is_part,
            )
    return model


def build_graph(spec: ModelSpec, /, **arguments: Any) -> keras.Model:
    """As `build_model`, without the time and the memory that weights take: only its graph can be used.

    Args:
        spec: the model.
        **arguments: those of `build_model`.
    """
    try:
        with keras_internals.declared_variables():
            return build_model(spec, **arguments)
    except ModelBuildError as error:
        if "stateless scope" not in str(error):
            raise
        return build_model(spec, **arguments)  # a builder that gives a variable a value, which Keras refuses above


def _checked_shape(spec: ModelSpec, input_shape: InputShape | None) -> InputShape:
    """``input_shape``, or the model's own; height and width may be ``None``.

    Raises:
        InputShapeError: as `checked_input_shape`.
    """
    is_shape = isinstance(input_shape, tuple | list) and len(input_shape) == 3
    if input_shape is None or not is_shape or None not in input_shape[:2] or input_shape[2] is None:
        return checked_input_shape(spec, input_shape)
    fixed = checked_input_shape(spec, _fixed(spec, input_shape))
    height, width = (None if asked is None else size for asked, size in zip(input_shape[:2], fixed[:2], strict=True))
    return height, width, fixed[2]


def _fixed(spec: ModelSpec, shape: Sequence[int | None], more: int = 0) -> tuple[int, int, int]:
    """``shape`` with the sizes of the model's own shape, and some ``more`` pixels, where it has none."""
    height, width, channels = (
        default + more if size is None else size for size, default in zip(shape, spec.input_shape, strict=True)
    )
    return height, width, channels


def _check_parts(spec: ModelSpec, include_top: bool, pooling: Pooling | None, features: Sequence[str] | None) -> None:
    """Refuse what the model cannot be cut into.

    Raises:
        UsageError: no features or an unknown one, or a pooling with the top.
    """
    if (features is not None or not include_top) and not spec.features:
        raise UsageError(f"{spec.name} names no features, so it has no form without its top.")
    if features is not None:
        if not features:
            raise UsageError(f"features must be names, for instance {tuple(spec.features)[:2]}; got {features!r}.")
        if unknown := [feature for feature in features if feature not in spec.features]:
            hint, known = suggestion(unknown[0], spec.features), ", ".join(spec.features)
            raise UsageError(f"{spec.name} has no feature {unknown[0]!r}.{hint} It has: {known}.")
    if pooling and include_top:
        raise UsageError("pooling is for a model without its top; pass include_top=False.")


def _cut(spec: ModelSpec, pooling: Pooling | None, features: Sequence[str] | None) -> Cut:
    """What cuts the wanted part out of a network: some of its features, or all of it without the top."""

    def cut(network: keras.Model) -> keras.Model:
        what = "without its top" if features is None else "for its features"
        if not keras_internals.has_graph(network):
            fault = "its builder returned a subclassed model, which has no graph that could be cut"
            raise ModelBuildError(spec.name, what, fault)
        try:
            if features is None:
                return headless_network(network, list(spec.features.values())[-1].layer, pooling)
            return feature_network(network, {feature: spec.features[feature].layer for feature in features})
        except ValueError as error:  # there is no such layer
            raise ModelBuildError(spec.name, what, one_line(error)) from error

    return cut


def _part(spec: ModelSpec, shape: InputShape, build: Build, cut: Cut) -> keras.Model:
    """A part of a network.

    Raises:
        ModelBuildError: the network cannot be built or cut, or not for images of any size.
    """
    try:
        return _made(spec, shape, build, cut)
    except ModelBuildError:
        if None not in shape or not keras_internals.variables_can_wait():
            raise
        return _part_of_any_size(spec, shape, build, cut)  # perhaps only the top needs images of one size


def _made(spec: ModelSpec, shape: InputShape, build: Build, cut: Cut | None = None) -> keras.Model:
    """A network, or the part that ``cut`` takes out of it, with its variables.

    Those of the rest, which may be most of them, are not made; those of what is too large for memory neither.

    Raises:
        UsageError: its weights are larger than the memory.
        ModelBuildError: it cannot be built or cut.
    """

    def at_once() -> keras.Model:
        with memory_reported(what, ()):
            return cut(build(shape)) if cut else build(shape)

    what = f"{spec.name} for input_shape={shape}"
    if keras_internals.in_stateless_scope() or not keras_internals.variables_can_wait():
        return at_once()
    try:
        with keras_internals.declared_variables() as declared:
            whole = build(shape)
            part = cut(whole) if cut else whole
    except ModelBuildError:  # in some builders because they make or use variables themselves
        return at_once()
    if declared.has_values:
        return at_once()
    kept = {id(variable) for variable in part.variables}
    rest = {id(variable) for layer in whole.layers for variable in layer.variables} - kept
    made = [variable for variable in declared.variables if id(variable) not in rest]
    needs = [("weights", bytes_of(made))]
    refuse_larger_than_memory(what, needs)
    with memory_reported(what, needs):
        keras_internals.make_variables(made)
    return part


def _part_of_any_size(spec: ModelSpec, shape: InputShape, build: Build, cut: Cut) -> keras.Model:
    """A part for images of any size, of a network that can only be built for one.

    It is built for two sizes. Where its layers are the same for both, they are laid out again for any.

    Raises:
        ModelBuildError: they are not, or cannot be made again from their settings.
    """
    keras = backend.keras()
    with keras_internals.declared_variables():
        part, other = (cut(build(_fixed(spec, shape, more))) for more in (0, OTHER_SIZE))
    try:
        if _settings(part) == _settings(other):
            inputs = keras.Input(shape, name=part.inputs[0].name)
            return keras.models.clone_model(part, input_tensors=inputs)
        fault = "its layers depend on the size of the images"
    except Exception as error:  # a layer's own code
        fault = one_line(error)
    raise ModelBuildError(spec.name, f"for input_shape={shape}", f"{fault}. Name a height and a width.")


def _settings(model: keras.Model) -> list[tuple[type, dict[str, Any]]]:
    """The classes and settings of the layers, without their names."""
    layers = [layer for layer in model.layers if not isinstance(layer, backend.keras().layers.InputLayer)]
    return [(type(layer), layer.get_config() | {"name": ""}) for layer in layers]


def _build(spec: ModelSpec, shape: InputShape, num_classes: int, options: Mapping[str, Any]) -> keras.Model:
    """The whole network."""
    by = f" by {spec.provider}" if spec.provider.distribution else ""
    what = f"for input_shape={shape}, num_classes={num_classes}{by}"
    try:
        with isolated(f"The builder of {spec.name}"):
            model = spec.build(shape, num_classes, **options)
            mismatch = _output_mismatch(model, shape, num_classes)
    except (CnnRegistryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the builder is somebody else's code, and may call sys.exit
        hint = " (It may need images of one size: name a height and a width.)" if None in shape else ""
        if not hint and shape[0] != shape[1]:
            hint = f" (It may need squares: try {spec.name} with one edge length for both.)"
        raise ModelBuildError(spec.name, what, f"{one_line(error)}{hint}") from error
    if mismatch:
        raise ModelBuildError(spec.name, what, mismatch)
    return model


def _output_mismatch(model: object, shape: InputShape, num_classes: int) -> str:
    """What keeps a builder's result from being the classifier that was asked for, or an empty string."""
    keras = backend.keras()
    if not isinstance(model, keras.Model):
        return f"its builder returned {type(model).__name__}, not a keras.Model"
    # A subclassed model has no output before it is called.
    outputs = model.output if hasattr(model, "output") else model(keras.Input(shape))
    if isinstance(outputs, dict) and MAIN not in outputs:
        return f"it has the outputs {listing(map(str, outputs))}, and none is {MAIN!r}; {ONE_OUTPUT}"
    if isinstance(outputs, list | tuple):
        return f"it has {counted(len(outputs), 'output')} without names; {ONE_OUTPUT}"
    output = outputs[MAIN] if isinstance(outputs, dict) else outputs
    came = getattr(output, "shape", type(output).__name__)
    return "" if came == (None, num_classes) else f"the shape of its output must be {(None, num_classes)}; got {came}"
