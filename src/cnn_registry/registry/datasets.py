"""Register, list and look up datasets by name; the entry-point group is ``cnn_registry.datasets``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from cnn_registry.errors import UsageError

from .catalogue import Ambiguous, Listed
from .current import current_registry
from .declaration import declaration
from .entries import Broken
from .spec import FIRST_API_VERSION, DatasetSpec, Paper, Provider

Loader = TypeVar("Loader", bound=Callable[..., Any])


@declaration
def register_dataset(
    *,
    summary: str,
    num_classes: int,
    num_images: int,
    image_size: int | tuple[int, int] | None = None,
    embedded: bool = False,
    is_default: bool = False,
    parameter: str = "",
    paper: Paper | None = None,
    aliases: tuple[str, ...] = (),
    deprecated_aliases: tuple[str, ...] = (),
    deprecated: str | None = None,
    api_version: int = FIRST_API_VERSION,
    replace: bool = False,
) -> Callable[[Loader], Loader]:
    """Declare a loader ``def name(source: Path | None) -> ImageDataset``; its name is the dataset's name.

    The loader gets what the user gave as ``--data`` (an archive or a folder), or ``None``: then it fetches the data
    or finds it where it was fetched before. The declaring module must import nothing heavy.

    Args:
        summary: one line for listings.
        num_classes: number of classes; 0 where it depends on the parameter.
        num_images: number of images; likewise.
        image_size: natural edge length in pixels, or height and width; default ``None``, the images vary.
        embedded: whether it needs no download; default false.
        is_default: whether ``train`` uses it when neither a dataset nor a folder is named; default false.
        parameter: makes the loader one of many datasets, ``def prefix(source: Path | None, *, name: str)``, which gets
            what follows ``prefix:`` as ``name``. The text stands for it in listings, ``"NAME"`` for instance.
            Default none.
        paper: the publication it comes from; default none.
        aliases: other names that find it; default none.
        deprecated_aliases: former names that still find it, with a `FutureWarning`; default none.
        deprecated: the replacement's name; using the dataset then warns. Default ``None``, it is current.
        api_version: the plugin interface the declaration is written for; default the first.
        replace: whether to take the place of an earlier registration, or of an installed dataset, in this session;
            default false.

    Returns:
        A decorator that returns the loader unchanged.

    Raises:
        DeclarationError: an argument is missing, unknown, or of the wrong type. In a plugin, this makes the one
            dataset broken; the others of its module can be used.
        DuplicateNameError: the name was registered in this session before, and ``replace`` is false.
    """

    def decorate(loader: Loader) -> Loader:
        spec = DatasetSpec(
            name=loader.__name__,
            summary=summary,
            build=loader,
            provider=Provider(object=f"{loader.__module__}:{loader.__qualname__}"),
            paper=paper,
            aliases=aliases,
            deprecated_aliases=deprecated_aliases,
            deprecated=deprecated,
            api_version=api_version,
            num_classes=num_classes,
            num_images=num_images,
            image_size=image_size,
            embedded=embedded,
            is_default=is_default,
            parameter=parameter,
        )
        return current_registry().datasets.register(loader, spec, replace=replace)

    return decorate


def list_datasets(pattern: str | None = None) -> list[str]:
    """Names of all datasets, naturally sorted. No plugin is imported.

    Args:
        pattern: shell-style pattern, for instance ``"ox*"``; default all.
    """
    return current_registry().datasets.names(pattern)


def describe_datasets(pattern: str | None = None) -> list[DatasetSpec | Broken | Ambiguous]:
    """Everything that `list_datasets` names: its spec, or why it is broken or ambiguous. No data is read."""
    return current_registry().datasets.describe(pattern)


def listed_datasets() -> list[Listed | Broken | Ambiguous]:
    """As `describe_datasets`, for showing; a plugin that has not changed since it was listed is not imported."""
    return current_registry().datasets.listing()


def get_dataset_spec(name: str) -> DatasetSpec:
    """The `DatasetSpec` of a name, an alias, ``distribution:name``, or ``prefix:name``. No data is read.

    With a prefix, that of a loader of many datasets, the spec's loader is that of the one named.

    Raises:
        UnknownNameError: there is no such dataset; the message suggests the nearest names.
        AmbiguousNameError: several distributions provide the name.
        BrokenPluginError: the plugin that provides it cannot be used.
        UsageError: a loader of many datasets is named without one of them.
    """
    datasets = current_registry().datasets
    prefix, _, parameter = name.partition(":")
    if parameter and prefix in datasets.names():
        spec = datasets.get(prefix)
        if spec.parameter:
            return replace(spec, build=partial(spec.build, name=parameter))
    spec = datasets.get(name)
    if spec.parameter:
        raise UsageError(f"The dataset {spec.name!r} is one of many; name one of them: {spec.name}:{spec.parameter}.")
    return spec


def default_dataset() -> DatasetSpec:
    """The dataset that ``train`` uses when none is named.

    Raises:
        UsageError: none, or more than one, is declared as the default.
    """
    defaults = [spec for spec in describe_datasets() if isinstance(spec, DatasetSpec) and spec.is_default]
    if len(defaults) != 1:
        names = ", ".join(spec.name for spec in defaults) or "none"
        raise UsageError(f"Name a dataset with --dataset; those that claim to be the default: {names}.")
    return defaults[0]


def embedded_datasets() -> list[str]:
    """Names of the datasets that need no download."""
    return [spec.name for spec in describe_datasets() if isinstance(spec, DatasetSpec) and spec.embedded]
