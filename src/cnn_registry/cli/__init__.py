"""The command line: one module per command, each imported only when it is used."""

from .app import main

__all__ = ["main"]
