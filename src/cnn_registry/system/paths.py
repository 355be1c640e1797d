"""Where fetched and decoded data is kept."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from cnn_registry.errors import UsageError
from cnn_registry.text import one_line, quoted


def cache_root() -> Path:
    """The folder of everything that can be made again: ``CNNREG_CACHE``, or the user's cache folder.

    Raises:
        UsageError: the variable begins with the home folder of a user who does not exist.
    """
    chosen = os.environ.get("CNNREG_CACHE")
    try:
        return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("cnn_registry", appauthor=False)
    except RuntimeError as error:
        raise UsageError(f"CNNREG_CACHE must be a folder; got {quoted(chosen)}: {one_line(error)}.") from error


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
