"""Register, list, look up and build models by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import backend
from .catalogue import Ambiguous, Catalogue
from .discovery import MODELS, Broken, stdout_to_stderr
from .errors import (
    CnnRegistryError,
    DeclarationError,
    InputShapeError,
    ModelBuildError,
    UnknownOptionError,
    UsageError,
    one_line,
    suggestion,
)
from .graph import MAIN, Pooling, feature_network, headless_network
from .spec import Feature, ModelSpec, Paper, Pretrained, Provider
from .weights.source import find_source

if TYPE_CHECKING:
    import keras

Builder = TypeVar("Builder", bound=Callable[..., Any])

models: Catalogue[ModelSpec] = Catalogue(MODELS, ModelSpec, "model", "See all with: cnnreg list")


def register_model(
    *,
    family: str,
    summary: str,
    paper: Paper,
    trainable_params: int,
    non_trainable_params: int = 0,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    macs: int = 0,
    min_size: int = 1,
    features: Mapping[str, Feature] | None = None,
    aux_heads: Mapping[str, float] | None = None,
    weights: Mapping[str, Pretrained] | None = None,
    default_recipe: str = "default",
    recipe_settings: Mapping[str, Mapping[str, Any]] | None = None,
    aliases: tuple[str, ...] = (),
    deprecated: str | None = None,
    api_version: int = 1,
    replace: bool = False,
) -> Callable[[Builder], Builder]:
    """Declare a builder ``def name(input_shape, num_classes, *, option=default, ...) -> keras.Model``.

    The function's name is the model's name; its keyword-only parameters are the model's options. The module that
    declares must not import Keras: the function imports its network when it is called.

    Args:
        family: the group of architectures, for instance ``"vgg"``.
        summary: one line for listings.
        paper: title, authors, year and url of the publication.
        trainable_params: trainable parameters with 1000 classes at ``input_shape``.
        non_trainable_params: the others, likewise.
        input_shape: default ``(height, width, channels)``.
        macs: multiplications with addition for one image at ``input_shape`` with 1000 classes.
        min_size: smallest height and width in pixels that can be built.
        features: intermediate maps that ``create_model(..., features=...)`` gives, in the order of the network; the
            last one is what ``include_top=False`` returns.
        aux_heads: weights of the auxiliary heads' losses by the names of their outputs. The builder then needs an
            option ``aux_heads=False``; with it true it returns a model with a dict of outputs, the main one
            ``"predictions"``. Training uses it, everything else builds without.
        weights: published weights by the name that ``create_model(..., weights=...)`` takes.
        default_recipe: recipe that ``train`` uses when none is asked for.
        recipe_settings: adjustments of named recipes for this model, as dotted keys.
        aliases: other names that find the model.
        deprecated: the replacement's name; using the model then warns.
        api_version: the plugin interface the declaration is written for; see "Plugins that misbehave" in the guide.
        replace: take the place of an earlier registration, or of an installed model of that name, in this session.

    Returns:
        A decorator that returns the builder as it is.

    Raises:
        DeclarationError: the builder's signature does not have the form above.
        DuplicateNameError: the name was registered in this session before, and ``replace`` is false.
    """

    def decorate(builder: Builder) -> Builder:
        spec = ModelSpec(
            name=builder.__name__,
            summary=summary,
            build=builder,
            provider=Provider(object=f"{builder.__module__}:{builder.__qualname__}"),
            paper=paper,
            aliases=aliases,
            deprecated=deprecated,
            api_version=api_version,
            family=family,
            input_shape=input_shape,
            trainable_params=trainable_params,
            non_trainable_params=non_trainable_params,
            macs=macs,
            min_size=min_size,
            features=features or {},
            aux_heads=aux_heads or {},
            weights=weights or {},
            options=_options(builder),
            default_recipe=default_recipe,
            recipe_settings=recipe_settings or {},
        )
        return models.register(builder, spec, replace=replace)

    return decorate


def _options(builder: Callable[..., Any]) -> dict[str, Any]:
    """The builder's keyword-only parameters with their defaults."""
    parameters = inspect.signature(builder).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    others = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    takes_rest = len(options) + len(others) < len(parameters)  # *args or **kwargs: a misspelt option would go unnoticed
    lacks_default = any(default is inspect.Parameter.empty for default in options.values())
    if others != ["input_shape", "num_classes"] or lacks_default or takes_rest:
        raise DeclarationError(
            f"{builder.__name__} must have the signature (input_shape, num_classes, *, option=default, ...), "
            f"each option with a default and no *args or **kwargs."
        )
    if taken := options.keys() & {"name", "weights", "include_top", "pooling", "features"}:
        raise DeclarationError(f"{builder.__name__} has an option {taken.pop()!r}, which create_model takes itself.")
    return options


def list_models(pattern: str | None = None) -> list[str]:
    """Names of all models, naturally sorted: ``vgg11`` before ``vgg100``. No plugin is imported.

    Args:
        pattern: shell-style pattern, for instance ``"vgg*"`` or ``"*res?et*"``; default all.
    """
    return models.names(pattern)


def describe_models(pattern: str | None = None) -> list[ModelSpec | Broken | Ambiguous]:
    """Everything that `list_models` names: its spec, or why it is broken or ambiguous. Keras is not imported."""
    return models.describe(pattern)


def get_spec(name: str) -> ModelSpec:
    """The `ModelSpec` of a name, an alias, or ``distribution:name``. Keras is not imported.

    Raises:
        UnknownNameError: no such model; the message suggests the nearest names.
        AmbiguousNameError: several distributions provide the name.
        BrokenPluginError: the plugin that provides it cannot be used.
    """
    return models.get(name)


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
            file: ``.weights.h5`` as Keras saves it, or a state dict of PyTorch's in a ``.pth`` or ``.safetensors``
            file. Where they have other classes, the classifier starts anew. Options that the weights need are set.
            Default random initialisation.
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
    spec = models.get(name)
    refuse_unknown_options(spec, options)
    if not _is_count(num_classes):
        raise UsageError(f"num_classes must be a whole number from 1 on; got {num_classes!r}.")
    shape = checked_input_shape(spec, input_shape)
    _check_parts(spec, include_top, pooling, features)
    source = None if weights is None else find_source(spec, weights)
    options = source.options(options) if source else options
    model = _build(spec, shape, int(num_classes), options)
    if source:
        from .weights.load import load_weights

        load_weights(source, model, lambda: _build(spec, shape, int(num_classes), options))
    if features is not None:
        return feature_network(model, {feature: spec.features[feature].layer for feature in features})
    if not include_top:
        return headless_network(model, list(spec.features.values())[-1].layer, pooling)
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


def refuse_unknown_options(spec: ModelSpec, options: Iterable[str]) -> None:
    """Refuse options that the model's builder does not have.

    Raises:
        UnknownOptionError: there is one.
    """
    if unknown := [option for option in options if option not in spec.options]:
        raise UnknownOptionError(spec.name, unknown, spec.options)


def checked_input_shape(spec: ModelSpec, input_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """``input_shape``, or the model's default for ``None``.

    Raises:
        InputShapeError: it is not three positive whole numbers, or smaller than ``spec.min_size``.
    """
    if input_shape is None:
        return spec.input_shape
    if not isinstance(input_shape, tuple | list) or len(input_shape) != 3 or not all(map(_is_count, input_shape)):
        raise InputShapeError(
            f"input_shape must be (height, width, channels), three positive whole numbers; got {input_shape!r}."
        )
    height, width, channels = map(int, input_shape)
    if min(height, width) < spec.min_size:
        raise InputShapeError(
            f"{spec.name} needs images of at least {spec.min_size}x{spec.min_size} pixels; got {height}x{width}."
        )
    return height, width, channels


def _is_count(value: object) -> bool:
    """Whether it is a whole number from 1 on, NumPy's included."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


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
