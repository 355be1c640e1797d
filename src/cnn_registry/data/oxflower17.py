"""The Oxford 17 category flowers: the data set of the article that this package grew from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.registry.datasets import register_dataset
from cnn_registry.registry.spec import Paper

if TYPE_CHECKING:
    from .dataset import ImageDataset


@register_dataset(
    summary="Oxford 17 category flowers, 80 photographs of each, fetched on first use (60 MB)",
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

    A tree in the official layout, ``jpg/image_0001.jpg``, has its labels in the official order: image n is of class
    ``(n - 1) // 80``. A tree in tflearn's layout, ``jpg/<class>/image_0001.jpg``, has them in tflearn's, which sorts
    the folders 0 to 16 as strings: label 2 is folder 10. The class names follow, so that a name is the same flower in
    both. The official splits ``official-1`` to ``official-3`` are there where ``datasplits.mat`` lies beside the
    archive, beside ``jpg``, or in the given folder.

    Args:
        source: ``17flowers.tgz``, the folder that holds it or ``jpg``, or ``jpg`` itself. ``None`` looks in the cache
            folder, and fetches the archive where there is none.

    Raises:
        DataError: the source holds no flowers.
        DownloadError: the archive could not be fetched; the message names the ways out.
    """
    from ._oxflower17 import load

    return load(source)
