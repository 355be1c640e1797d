"""The command line: one module per command, each imported only when it is used."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit; see `cnn_registry.cli.app.main`."""
    try:
        from .app import main as run
    except KeyboardInterrupt:  # which would show where in the imports it came
        if sys.stderr is not None:
            sys.stderr.write("Interrupted.\n")
        sys.exit(130)
    run()
