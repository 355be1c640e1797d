"""Where fetched and decoded data is kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """The folder of everything that can be made again: ``CNNREG_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("CNNREG_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("cnn_registry", appauthor=False)


def datasets_dir() -> Path:
    """The folder of archives that were fetched, and of what was extracted from them; one folder per dataset."""
    return cache_root() / "datasets"


def decoded_dir() -> Path:
    """Images decoded and resized; one folder for each set and size."""
    return cache_root() / "decoded"


def hashes_dir() -> Path:
    """Digests of files that were read before; one file for each dataset."""
    return cache_root() / "hashes"


def weights_dir() -> Path:
    """Trained weights that were fetched."""
    return cache_root() / "weights"


def hub_dir() -> Path:
    """Runs and weights that were fetched from a hub; one folder for each repository."""
    return cache_root() / "hub"


def plugins_dir() -> Path:
    """What the installed plugins declare, as it was last listed; one file for each environment."""
    return cache_root() / "plugins"
