"""The Oxford 17 category flowers (Nilsback & Zisserman, 2006): 80 photographs of each of 17 flowers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.registry.datasets import register_dataset
from cnn_registry.registry.spec import Paper

if TYPE_CHECKING:
    from .dataset import ImageDataset


@register_dataset(
    summary="Oxford 17 category flowers, 80 photographs of each, downloaded on first use (60 MB)",
    num_classes=17,
    num_images=1360,
    is_default=True,
    paper=Paper(
        title="A Visual Vocabulary for Flower Classification",
        authors="M.-E. Nilsback, A. Zisserman",
        year=2006,
        url="https://www.robots.ox.ac.uk/~vgg/data/flowers/17/",
    ),
)
def oxflower17(source: Path | None) -> ImageDataset:
    """The flowers, from an archive or an extracted tree.

    In the official layout, ``jpg/image_0001.jpg``, labels are in the official order: image n has class ``(n - 1) //
    80``. In tflearn's layout, ``jpg/<class>/image_0001.jpg``, they are in tflearn's order, which sorts the folders 0 to
    16 as strings: label 2 is folder 10. Class names are right in both. The splits ``official-1`` to ``official-3`` are
    available if ``datasplits.mat`` is beside the archive, beside ``jpg``, or in the given folder.

    Args:
        source: ``17flowers.tgz``, the folder that holds it or ``jpg``, or ``jpg`` itself. ``None`` uses the archive in
            the cache directory, and downloads it first if necessary.

    Raises:
        DataError: the source holds no flowers.
        DownloadError: the archive could not be downloaded; the message says what to do instead.
    """
    from ._oxflower17 import load

    return load(source)
