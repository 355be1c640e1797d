"""Register, list, look up and build models by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import backend
from .catalogue import Ambiguous, Catalogue
from .discovery import MODELS, Broken
from .errors import DeclarationError, InputShapeError, ModelBuildError, UnknownOptionError, UsageError
from .spec import API_VERSION, ModelSpec, Paper, Provider

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
    min_size: int = 1,
    default_recipe: str = "default",
    recipe_settings: Mapping[str, Mapping[str, Any]] | None = None,
    aliases: tuple[str, ...] = (),
    deprecated: str | None = None,
    api_version: int = API_VERSION,
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
        min_size: smallest height and width in pixels that can be built.
        default_recipe: recipe that ``train`` uses when none is asked for.
        recipe_settings: adjustments of named recipes for this model, as dotted keys.
        aliases: other names that find the model.
        deprecated: the replacement's name; using the model then warns.
        api_version: the plugin interface the declaration is written for.
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
            min_size=min_size,
            options=_options(builder),
            default_recipe=default_recipe,
            recipe_settings=recipe_settings or {},
        )
        return models.register(builder, spec, replace=replace)

    return decorate


def _options(builder: Callable[..., Any]) -> dict[str, Any]:
    """The builder's keyword-only parameters with their defaults."""
    code = builder.__code__
    positional = code.co_varnames[: code.co_argcount]
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    options = dict(builder.__kwdefaults__ or {})
    takes_rest = bool(code.co_flags & 0x0C)  # *args or **kwargs: a misspelt option would go unnoticed
    if positional != ("input_shape", "num_classes") or set(keyword_only) != options.keys() or takes_rest:
        raise DeclarationError(
            f"{builder.__name__} must have the signature (input_shape, num_classes, *, option=default, ...), "
            f"each option with a default and no *args or **kwargs."
        )
    return {name: options[name] for name in keyword_only}


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
    **options: Any,
) -> keras.Model:
    """Build a model by name.

    Args:
        name: a name from `list_models`, an alias, or ``distribution:name``.
        num_classes: number of outputs.
        input_shape: ``(height, width, channels)``; default the model's own.
        weights: a ``.weights.h5`` file that a model of the same form saved; default random initialisation.
        **options: the model's own options; see ``get_spec(name).options``.

    Returns:
        An uncompiled `keras.Model` from ``(batch, height, width, channels)`` to ``(batch, num_classes)``.

    Raises:
        UnknownNameError, AmbiguousNameError, BrokenPluginError: as `get_spec`.
        UnknownOptionError: the model has no such option.
        InputShapeError: the shape is malformed, or smaller than the model can take.
        ModelBuildError: the builder or the weights file failed.
        BackendError: Keras or its backend is not installed.
    """
    spec = get_spec(name)
    if unknown := [option for option in options if option not in spec.options]:
        raise UnknownOptionError(spec.name, unknown, spec.options)
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 1:
        raise UsageError(f"num_classes must be a whole number from 1 on; got {num_classes!r}.")
    shape = checked_input_shape(spec, input_shape)
    path = None if weights is None else _checked_weights(weights)
    model = _build(spec, shape, num_classes, options)
    if path is not None:
        _load_weights(model, path)
    return model


def checked_input_shape(spec: ModelSpec, input_shape: tuple[int, int, int] | None) -> tuple[int, int, int]:
    """``input_shape``, or the model's default for ``None``.

    Raises:
        InputShapeError: it is not three positive whole numbers, or smaller than ``spec.min_size``.
    """
    if input_shape is None:
        return spec.input_shape
    shape = tuple(input_shape)
    if len(shape) != 3 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise InputShapeError(
            f"input_shape must be (height, width, channels), three positive whole numbers; got {input_shape!r}."
        )
    height, width, channels = shape
    if min(height, width) < spec.min_size:
        raise InputShapeError(
            f"{spec.name} needs images of at least {spec.min_size}x{spec.min_size} pixels; got {height}x{width}."
        )
    return height, width, channels


def _build(spec: ModelSpec, shape: tuple[int, int, int], num_classes: int, options: Mapping[str, Any]) -> keras.Model:
    keras = backend.keras()
    what = f"for input_shape={shape}, num_classes={num_classes}"
    try:
        model = spec.build(shape, num_classes, **options)
    except (ValueError, TypeError, ImportError) as error:
        raise ModelBuildError(spec.name, what, " ".join(str(error).split())) from error
    if not isinstance(model, keras.Model):
        raise ModelBuildError(spec.name, what, f"its builder returned {type(model).__name__}, not a keras.Model")
    return model


def _checked_weights(weights: str | Path) -> Path:
    path = Path(weights)
    if not path.name.endswith(".weights.h5"):
        raise UsageError(f"weights must be a file that ends in '.weights.h5'; got {str(weights)!r}.")
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    return path


def _load_weights(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ModelBuildError(model.name, f"with the weights of {path}", " ".join(str(error).split())) from error
