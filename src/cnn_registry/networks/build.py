"""From a spec to a `keras.Model`: the one way in which models are built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry import backend
from cnn_registry.errors import (
    CnnRegistryError,
    ModelBuildError,
    UsageError,
)
from cnn_registry.registry.models import checked_input_shape, get_spec, is_count, refuse_unknown_options
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.stdout import stdout_to_stderr
from cnn_registry.text import one_line, suggestion

from .graph import MAIN, Pooling, feature_network, headless_network
from .weights.source import find_source

if TYPE_CHECKING:
    import keras


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] | None = None,
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
        input_shape: ``(height, width, channels)``; default the model's own.
        weights: published weights that ``get_spec(name).weights`` names, for instance ``"keras:imagenet"``; or a
            file: ``.weights.h5`` as Keras saves it, or a PyTorch state dict in a ``.pth`` or ``.safetensors`` file.
            A classifier for other classes keeps its random initialization. Options that the weights need are set.
            Default random initialization.
        include_top: whether the model ends in its classifier, or in the last of its features.
        pooling: without the top: ``"avg"`` or ``"max"`` over each map; default the maps themselves.
        features: names of ``get_spec(name).features``: the model returns a dict of those maps instead.
        **options: the model's own options; see ``get_spec(name).options``.

    Returns:
        An uncompiled `keras.Model` from ``(batch, height, width, channels)`` to ``(batch, num_classes)``, to
        ``(batch, channels)`` or ``(batch, h, w, channels)`` without the top, or to a dict of maps.

    Raises:
        UnknownNameError, AmbiguousNameError, BrokenPluginError: as `get_spec`.
        UnknownOptionError: the model has no such option.
        InputShapeError: the shape is malformed, or smaller than the model can take.
        ModelBuildError: the builder failed.
        WeightsError, DownloadError: the weights do not fit, or cannot be read or fetched.
        BackendError: Keras, its backend, or the library that reads the weights is not installed.
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
    input_shape: tuple[int, int, int] | None = None,
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
    shape = checked_input_shape(spec, input_shape)
    _check_parts(spec, include_top, pooling, features)
    source = None if weights is None else find_source(spec, weights)
    options = source.options(options) if source else options
    model = _build(spec, shape, int(num_classes), options)
    if features is not None:
        model = feature_network(model, {feature: spec.features[feature].layer for feature in features})
    elif not include_top:
        model = headless_network(model, list(spec.features.values())[-1].layer, pooling)
    if source:
        from .weights.load import load_weights

        load_weights(
            source,
            model,
            lambda: _build(spec, shape, int(num_classes), options),
            class_names=class_names,
            is_part=features is not None or not include_top,
        )
    return model


def _check_parts(spec: ModelSpec, include_top: bool, pooling: str | None, features: Sequence[str] | None) -> None:
    """Refuse what the model cannot be cut into.

    Raises:
        UsageError: an unknown feature or pooling, or a pooling with the top.
    """
    if (features is not None or not include_top) and not spec.features:
        raise UsageError(f"{spec.name} names no features, so it has no form without its top.")
    if features is not None:
        if isinstance(features, str) or not features:
            raise UsageError(f"features must be names, for instance {tuple(spec.features)[:2]}; got {features!r}.")
        if unknown := [feature for feature in features if feature not in spec.features]:
            hint, known = suggestion(unknown[0], spec.features), ", ".join(spec.features)
            raise UsageError(f"{spec.name} has no feature {unknown[0]!r}.{hint} It has: {known}.")
    if pooling not in (None, "avg", "max"):
        raise UsageError(f"pooling must be 'avg', 'max' or None; got {pooling!r}.")
    if pooling and include_top:
        raise UsageError("pooling is for a model without its top; pass include_top=False.")


def _build(spec: ModelSpec, shape: tuple[int, int, int], num_classes: int, options: Mapping[str, Any]) -> keras.Model:
    backend.keras()
    by = f" by {spec.provider}" if spec.provider.distribution else ""
    what = f"for input_shape={shape}, num_classes={num_classes}{by}"
    try:
        with stdout_to_stderr():
            model = spec.build(shape, num_classes, **options)
            fault = _fault(model, shape, num_classes)
    except (CnnRegistryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the builder is somebody else's code, and may call sys.exit
        raise ModelBuildError(spec.name, what, one_line(error)) from error
    if fault:
        raise ModelBuildError(spec.name, what, fault)
    return model


def _fault(model: object, shape: tuple[int, int, int], num_classes: int) -> str:
    """What keeps a builder's result from being the classifier that was asked for, or an empty string."""
    keras = backend.keras()
    if not isinstance(model, keras.Model):
        return f"its builder returned {type(model).__name__}, not a keras.Model"
    # A subclassed model has no output before it is called.
    outputs = model.output if hasattr(model, "output") else model(keras.Input(shape))
    output = outputs.get(MAIN) if isinstance(outputs, dict) else outputs
    came = getattr(output, "shape", type(output).__name__)
    return "" if came == (None, num_classes) else f"the shape of its output must be {(None, num_classes)}; got {came}"
