"""The training loop and its callbacks."""

from pathlib import Path

__path__.append(str(Path(__file__).parents[1] / "moved" / "training"))  # old paths of modules that plugins import
