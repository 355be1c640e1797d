"""Handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.errors import UsageError
from cnn_registry.registry.datasets import register_dataset
from cnn_registry.registry.spec import Paper

if TYPE_CHECKING:
    from .dataset import ImageDataset


@register_dataset(
    summary="1,797 handwritten digits of 8x8 pixels, embedded",
    num_classes=10,
    num_images=1797,
    image_size=32,
    embedded=True,
    paper=Paper(
        title="Optical Recognition of Handwritten Digits",
        authors="E. Alpaydin, C. Kaynak",
        year=1998,
        url="https://doi.org/10.24432/C50P49",
    ),
)
def digits(source: Path | None) -> ImageDataset:
    """The digits as grey RGB images, with their 17 grey levels spread over 0 to 255.

    Raises:
        UsageError: ``source`` is given; the images are in scikit-learn.
    """
    import numpy as np

    from cnn_registry.system.extras import need

    need("The dataset 'digits'", "sklearn")
    from sklearn.datasets import load_digits

    from .dataset import ImageDataset

    if source is not None:
        raise UsageError(f"The dataset 'digits' comes with scikit-learn and takes no --data; got {source}.")
    loaded = load_digits()
    grey = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    return ImageDataset(
        name="digits",
        class_names=tuple(str(name) for name in loaded.target_names),
        ids=tuple(f"digits/{number:04}" for number in range(1, len(grey) + 1)),
        labels=loaded.target.astype(np.int64),
        images=np.repeat(grey[..., np.newaxis], 3, axis=3),
        splits={},
        default_split=None,
        source="scikit-learn",
        image_size=32,
    )
