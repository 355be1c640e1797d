"""What ``cnnreg augmented`` and `cnn_registry.augmented` do: the images that a network sees in training, as a sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import Bytes, ImageDataset
from cnn_registry.data.fitting import as_image, in_channels, pixels
from cnn_registry.data.form import Form
from cnn_registry.data.image import attempt
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.manifest import Manifest, as_source
from cnn_registry.data.pipeline.batches import augmented_views
from cnn_registry.data.pipeline.steps import check_steps
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.memory import ArrayImages
from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import checked_input_shape, get_spec
from cnn_registry.report.sheet import SheetCell, draw_sheet
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note, working
from cnn_registry.text import counted

from .foreign import refuse_foreign_code
from .plan import chosen_recipe, from_files, settled, trained_shape

if TYPE_CHECKING:
    from PIL import Image

IMAGES, DRAWS, MOST = 6, 5, 24
"""Images and looks at each that are drawn unless others are asked for, and the most of both."""

LEAST_SHARE = 0.005
"""Labels with a smaller share of a mixed image are not written."""


@checked_arguments
@working("Drawing images")
def augmented(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | Manifest | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    images: int = IMAGES,
    draws: int = DRAWS,
    max_pixels: int | None = None,
) -> Image.Image:
    """Draw what a network would see in training: some images, several looks at each, with their labels.

    A row is an image; its first column shows it as it is evaluated, the others as it is at epochs that are spread over
    the training, with the sizes, the augmentation and the mixing of those epochs. Nothing is trained or written.

    Args:
        model, dataset, data, recipe, settings, max_pixels: as for `train`.
        images: how many images, 1 to 24; they are spread over the classes.
        draws: how many looks at each, 1 to 24.

    Returns:
        An image of Pillow's.

    Raises:
        UsageError: another number of images or looks is asked for.
        CnnRegistryError: as `train`.
    """
    need("Drawing images", "matplotlib")
    for what, number in (("images", images), ("draws", draws)):
        if not 1 <= number <= MOST:
            raise UsageError(f"{what} must be from 1 to {MOST}; got {number}.")
    backend.require_tensorflow()
    spec = get_spec(model)
    wanted = chosen_recipe(spec, recipe, settings or {})
    refuse_foreign_code(wanted.recipe, f"The recipe {recipe}", from_files(recipe, wanted))
    found = load_dataset(dataset, as_source(data))
    resolved = settled(wanted, spec, found)
    shape = checked_input_shape(spec, trained_shape(spec, resolved, found))
    chosen = resolved.recipe
    check_steps(chosen.augmentation.steps, shape)
    forms = chosen.form(shape), chosen.decoded_form(shape)
    some, (evaluated, decoded) = _decoded(found, images, forms, max_pixels)
    epochs = [int((place + 0.5) * chosen.epochs / draws) for place in range(draws)]
    with working(f"Drawing {counted(len(some), 'image')}", after=1.0):
        seen = augmented_views(
            LoadedImages(some, ArrayImages(decoded, forms[1]), bad=(), digest=""),
            at=epochs,
            epochs=chosen.epochs,
            seed=chosen.seed,
            augmentation=chosen.augmentation,
            mixing=chosen.mixing,
            sizes=chosen.sizes(shape),
        )
        names, plain = found.class_names, some.one_hot(np.arange(len(some)))
        columns = [[SheetCell(_shown(image), _mixed(row, names)) for image, row in zip(evaluated, plain, strict=True)]]
        heads = [f"evaluated, {forms[0]}"]
        for epoch, (taken, shares) in zip(epochs, seen, strict=True):
            columns.append(
                [SheetCell(_shown(image), _mixed(row, names)) for image, row in zip(taken, shares, strict=True)]
            )
            heads.append(f"epoch {epoch + 1}, {taken.shape[1]}x{taken.shape[2]}")
        title = f"{spec.name} on {found.name}, recipe {chosen.name}"
        return draw_sheet(title, heads, list(map(list, zip(*columns, strict=True))))


def _decoded(
    dataset: ImageDataset, count: int, forms: tuple[Form, ...], max_pixels: int | None
) -> tuple[ImageDataset, list[Bytes]]:
    """Some images that can be read, spread over the classes, and their pixels in each form."""
    first = dataset.labels.argmax(axis=1) if dataset.multi_label else dataset.labels
    by_class = np.argsort(first, kind="stable")
    places = by_class[np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))]
    kept, found = [], []
    for place in sorted(places):
        image = dataset.images[place]
        if isinstance(image, np.ndarray):
            read: list[Bytes] | BadImageError = [pixels(as_image(image), form) for form in forms]
        else:
            read = attempt(image, forms, max_pixels=max_pixels)
        if isinstance(read, BadImageError):
            note(f"{dataset.ids[place]} cannot be read and is left out: {read.reason}.")
        else:
            kept.append(place)
            found.append(read)
    if not found:
        raise DataError(f"Not one of {counted(len(places), 'image')} of {dataset.name} can be read.")
    mask = np.zeros(len(dataset), bool)
    mask[kept] = True
    some = replace(dataset.select(mask), weights=None)
    return some, [np.stack(column) for column in zip(*found, strict=True)]


def _shown(image: Bytes) -> Bytes:
    return np.asarray(in_channels(as_image(image), 3))


def _mixed(shares: np.ndarray, names: tuple[str, ...]) -> str:
    """The label of an image, or its labels with their shares."""
    order = [int(place) for place in np.argsort(-shares, kind="stable") if shares[place] >= LEAST_SHARE]
    whole = all(shares[place] > 1 - LEAST_SHARE for place in order)
    return "\n".join(names[place] if whole else f"{shares[place]:.0%} {names[place]}" for place in order)
