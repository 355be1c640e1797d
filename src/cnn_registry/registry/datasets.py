"""Register, list and look up data sets by name; the entry-point group is ``cnn_registry.datasets``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from cnn_registry.errors import UsageError

from .catalogue import Catalogue
from .discovery import DATASETS
from .spec import DatasetSpec, Paper, Provider

Loader = TypeVar("Loader", bound=Callable[..., Any])

datasets: Catalogue[DatasetSpec] = Catalogue(DATASETS, DatasetSpec, "data set", "See all with: cnnreg datasets")


def register_dataset(
    *,
    summary: str,
    num_classes: int,
    num_images: int,
    image_size: int | None = None,
    embedded: bool = False,
    is_default: bool = False,
    paper: Paper | None = None,
    aliases: tuple[str, ...] = (),
    deprecated: str | None = None,
    api_version: int = 1,
    replace: bool = False,
) -> Callable[[Loader], Loader]:
    """Declare a loader ``def name(source: Path | None) -> ImageDataset``; its name is the data set's name.

    The loader gets what the user gave as ``--data`` (an archive or a folder), or ``None``: then it fetches the data
    or finds it where it was fetched before. The declaring module must import nothing heavy.

    Args:
        summary: one line for listings.
        num_classes: number of classes.
        num_images: number of images.
        image_size: natural edge length in pixels, ``None`` where the images vary.
        embedded: it needs no download.
        is_default: ``train`` uses it when neither a data set nor a folder is named.
        paper: the publication it comes from.
        aliases: other names that find it.
        deprecated: the replacement's name; using the data set then warns.
        api_version: the plugin interface the declaration is written for.
        replace: take the place of an earlier registration, or of an installed data set, in this session.

    Raises:
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
            deprecated=deprecated,
            api_version=api_version,
            num_classes=num_classes,
            num_images=num_images,
            image_size=image_size,
            embedded=embedded,
            is_default=is_default,
        )
        return datasets.register(loader, spec, replace=replace)

    return decorate


def default_dataset() -> DatasetSpec:
    """The data set that ``train`` uses when none is named.

    Raises:
        UsageError: none, or more than one, is declared as the default.
    """
    defaults = [spec for spec in datasets.describe() if isinstance(spec, DatasetSpec) and spec.is_default]
    if len(defaults) != 1:
        names = ", ".join(spec.name for spec in defaults) or "none"
        raise UsageError(f"Name a data set with --dataset; those that claim to be the default: {names}.")
    return defaults[0]


def embedded_datasets() -> list[str]:
    """Names of the data sets that need no download."""
    return [spec.name for spec in datasets.describe() if isinstance(spec, DatasetSpec) and spec.embedded]
