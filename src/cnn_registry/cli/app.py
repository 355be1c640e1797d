"""The ``cnnreg`` group, and how anything that goes wrong under it is told."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from cnn_registry import __version__
from cnn_registry.errors import CnnRegistryError
from cnn_registry.text import printable, suggestion

from .common import common_options, is_verbose

COMMANDS = ("list", "info", "train", "evaluate", "predict", "new", "check", "datasets", "recipes", "doctor")
INTERRUPTED = 130
TERMINATED = 143


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or ``None`` if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f".{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest names in the error."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            hint = suggestion(args[0], COMMANDS)
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cnnreg")
@common_options
def cnnreg() -> None:
    """Train convolutional networks on your own pictures, with models from installed plugins.

    Start with: cnnreg list, then cnnreg train alexnet --dataset digits
    """


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted."""
    warnings.showwarning = _show_warning
    if isinstance(sys.stdout, TextIOWrapper):  # what a plugin says of itself may not fit the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.exit(cnnreg.main(prog_name="cnnreg", standalone_mode=False) or 0)
    except click.UsageError as error:
        # Click shows the usage in three lines before its message.
        ctx = error.ctx
        _tell(f"Error: {error.format_message()}" + (f" See: {ctx.command_path} --help" if ctx else ""))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _tell(f"Error: {error.format_message()}")
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _tell("Interrupted.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe left; the interpreter would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except CnnRegistryError as error:
        _tell(f"Error: {error}", getattr(error, "details", ""))
        sys.exit(error.exit_code)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        _tell(f"Error: unexpected {type(error).__name__}: {reason} ('cnnreg -v ...' shows where.)")
        sys.exit(1)


def _tell(line: str, details: str = "") -> None:
    if is_verbose():
        shown = (details or traceback.format_exc()).split("\n")
        print("\n".join(map(printable, shown)), file=sys.stderr)
    print(printable(line), file=sys.stderr)


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    print(printable(f"Warning: {message}"), file=sys.stderr)
