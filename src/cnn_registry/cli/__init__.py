"""The command line: one module a command, each imported only when it is used."""

from .app import main

__all__ = ["main"]
