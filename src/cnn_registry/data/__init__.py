"""Datasets: what a loader returns, folders of pictures, splits, downloads.

A plugin declares a loader with `register_dataset`. The loader returns an `ImageDataset`, often with `load_folder`,
`load_manifest` or `encoded_dataset`, after `download` and `extract` have put the files into `datasets_dir`. Nothing in
this module decodes an image: pixels are decoded once, when a training or an evaluation needs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnn_registry.system.lazy import lazy_names

if TYPE_CHECKING:
    from cnn_registry.registry.datasets import register_dataset as register_dataset
    from cnn_registry.system.download import download as download
    from cnn_registry.system.paths import datasets_dir as datasets_dir

    from .archive import extract as extract
    from .dataset import ImageDataset as ImageDataset
    from .dataset import Split as Split
    from .encoded import encoded_dataset as encoded_dataset
    from .folder import load_folder as load_folder
    from .loading import load_dataset as load_dataset
    from .manifest import Manifest as Manifest
    from .manifest import load_manifest as load_manifest
    from .packing import Packing as Packing
    from .packing import pack as pack
    from .split import make_split as make_split

_HOMES = {
    "ImageDataset": "data.dataset",
    "Manifest": "data.manifest",
    "Packing": "data.packing",
    "Split": "data.dataset",
    "datasets_dir": "system.paths",
    "download": "system.download",
    "encoded_dataset": "data.encoded",
    "extract": "data.archive",
    "load_dataset": "data.loading",
    "load_folder": "data.folder",
    "load_manifest": "data.manifest",
    "make_split": "data.split",
    "pack": "data.packing",
    "register_dataset": "registry.datasets",
}

__all__ = sorted(_HOMES)

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

__path__.append(str(Path(__file__).parents[1] / "moved" / "data"))  # old paths of modules that plugins import
