"""``cnnreg launch``."""

from __future__ import annotations

import sys

import click

from cnn_registry.system.launch import launched

from .common import common_options


@click.command("launch", context_settings={"ignore_unknown_options": True})
@click.option("--workers", type=click.IntRange(min=1), required=True, metavar="N", help="Number of processes.")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED)
@common_options
def command(workers: int, arguments: tuple[str, ...]) -> None:
    """Run a command in several processes on this machine, as workers of one cluster.

    It is for trying what several machines will do: cnnreg launch --workers 2 -- train lenet5 --dataset digits

    Each process gets TF_CONFIG, a share of the CPUs, and lines that begin with its number; worker 0 is the chief.
    Signals are passed on. When one process fails, the others are ended.
    """
    try:
        code = launched([sys.executable, "-m", "cnn_registry", *arguments], workers)
    except OSError as error:
        raise click.UsageError(f"{workers} processes cannot be started: {error.strerror or error}.") from error
    click.get_current_context().exit(code)
