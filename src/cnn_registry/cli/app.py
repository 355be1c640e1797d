"""The ``cnnreg`` group, and how it reports what goes wrong."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext, suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

import click

from cnn_registry import __version__
from cnn_registry.errors import CnnRegistryError
from cnn_registry.registry.current import current_registry
from cnn_registry.system.garbage import exempt_imports
from cnn_registry.system.progress import note, shows_bars, working
from cnn_registry.text import shorten, suggestion

from .commands import COMMANDS, SLOW
from .common import common_options, is_verbose
from .extra import find_command, plugin_commands
from .hints import option_hint

INTERRUPTED = 130
TERMINATED = 143

EARLY, LATE = 0.5, 2.0
"""Seconds after which a slow command says that it has started: on a terminal; and in a log, where most errors are one
line.
"""

LONGEST_NAME = 120
"""Columns for the name of a file in a message."""


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used; commands of plugins follow its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which people meet them."""
        return [*COMMANDS, *plugin_commands(COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or ``None`` if no command has that name."""
        if cmd_name not in COMMANDS:
            return find_command(cmd_name, COMMANDS)
        command = import_module(f".{cmd_name.replace('-', '_')}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest names in the error."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not self.get_command(ctx, args[0]):
            hint = suggestion(args[0], self.list_commands(ctx))
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cnnreg")
@common_options
def cnnreg() -> None:
    """Train convolutional networks on your own images, with models from installed plugins.

    Start with: cnnreg list, then cnnreg train alexnet --dataset digits
    """


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong usage, 130 interrupted, 143 terminated."""
    _open_streams()
    warnings.showwarning = _show_warning
    current_registry().plugins.keeps = True
    exempt_imports()
    if isinstance(sys.stdout, TextIOWrapper):  # a plugin's texts may not fit the terminal's encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    code = _run()
    fault = _unwritten(sys.stdout)
    if fault and not isinstance(fault, BrokenPipeError):
        _report_unwritten(fault)
        code = code or 1
    for stream in (sys.stdout, sys.stderr):
        if _unwritten(stream):
            _give_up(stream)
    sys.exit(code)


def _run() -> int:
    """Run the command, report what goes wrong in one line, and return the exit code."""
    try:
        with _announced():
            return cnnreg.main(prog_name="cnnreg", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:  # a group without a command
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.UsageError as error:
        # Click shows the usage in three lines before its message.
        message = " ".join(error.format_message().split())
        if isinstance(error, click.NoSuchOption):
            message = f"No such option {error.option_name!r}.{option_hint(error, sys.argv)}"
        _complain(f"Error: {message}" + (f" See: {error.ctx.command_path} --help" if error.ctx else ""))
        return error.exit_code
    except click.ClickException as error:
        _complain(f"Error: {' '.join(error.format_message().split())}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has left
        return 1
    except CnnRegistryError as error:
        _complain(f"Error: {error}", getattr(error, "details", ""))
        return error.exit_code
    except SystemExit as error:
        if _is_of_click(error):
            raise
        _complain(f"Error: Code of a plugin or of yours ended the program: sys.exit({error.code!r}).")
        return 1
    except Exception as error:
        from cnn_registry.backend import is_lack_of_memory, memory_limit

        if is_lack_of_memory(error):
            limit = f"{memory_limit() / 1e9:,.1f} GB"
            _complain(
                f"Error: Out of memory: this process may use {limit}. Use smaller or fewer images at once, or allow it "
                f"more memory ('cnnreg -v ...' shows where)."
            )
            return 1
        if isinstance(error, OSError) and _is_of_printing(error):
            _report_unwritten(error)
            return 1
        if isinstance(error, OSError) and error.filename and error.strerror:
            _complain(f"Error: {shorten(str(error.filename), LONGEST_NAME)}: {error.strerror}.")
            return 1
        reason = " ".join(str(error).split()) or "no message"
        _complain(f"Error: unexpected {type(error).__name__}: {reason} ('cnnreg -v ...' shows where.)")
        return 1


def _announced() -> AbstractContextManager[object]:
    """Within it, a slow command that has not said anything says what it does."""
    name = next((word for word in sys.argv[1:] if not word.startswith("-")), "")  # the group has only flags
    if name not in SLOW:
        return nullcontext()
    return working(f"Starting cnnreg {name}", after=EARLY if shows_bars() else LATE, repeats=False)


def _is_of_click(error: SystemExit) -> bool:
    """Whether click itself ends the program: for a shell's completion, or because nobody reads what it prints."""
    from traceback import walk_tb

    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).partition(".")[0] == click.__name__


def _is_of_printing(error: OSError) -> bool:
    """Whether ``error`` comes from what was printed, click's help included, and not from a file of the command."""
    from traceback import walk_tb

    return any(frame.f_code is click.echo.__code__ for frame, _ in walk_tb(error.__traceback__))


def _report_unwritten(error: OSError) -> None:
    _complain(f"Error: Standard output cannot be written: {error.strerror or error}.")
    _give_up(sys.stdout)  # what is buffered would be tried once more


def _complain(line: str, details: str = "") -> None:
    if is_verbose():
        from traceback import format_exc

        for detail in (details or format_exc()).split("\n"):
            note(detail)
    note(line)


def _show_warning(message: Warning | str, *args: Any, **kwargs: Any) -> None:
    note(f"Warning: {message}")


def _open_streams() -> None:
    """Let standard streams that are closed lead nowhere; a file opened later would take the place of one of them."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            setattr(sys, name, os.fdopen(descriptor, "r" if name == "stdin" else "w"))


def _unwritten(stream: TextIO | None) -> OSError | None:
    """Why what was printed to a stream does not arrive, if that can be seen."""
    try:
        if stream is not None:
            stream.flush()
    except OSError as error:
        return error
    except ValueError:  # it is closed
        pass
    return None


def _give_up(stream: TextIO) -> None:
    """Let a stream lead nowhere; the interpreter would complain about it once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
