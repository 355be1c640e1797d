"""What commands that go through many pictures share: their sources, their progress, and what cannot be read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from cnn_registry.errors import DataError
from cnn_registry.system.progress import Bar, note, open_bar
from cnn_registry.text import counted

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 20
"""Pictures that cannot be read that are named on standard error."""

MANY = 32
"""From more pictures than this on, their speed is of interest."""


class Result(Protocol):
    """What was found out about one picture."""

    @property
    def image(self) -> Path | str | None:
        """Its name."""
        ...

    @property
    def reason(self) -> str:
        """Why it cannot be read, or an empty string."""
        ...


R = TypeVar("R", bound=Result)

sources_argument = click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
resume_option = click.option("--resume", is_flag=True, help="Continue FILE: pictures that are in it are left out.")
bad_image_option = click.option(
    "--on-bad-image",
    type=click.Choice(["skip", "error"]),
    default="skip",
    show_default=True,
    help="What to do about pictures that cannot be read: list them with the reason, or stop.",
)
max_pixels_option = click.option(
    "--max-pixels", type=click.IntRange(min=1), metavar="N", help="Read images of up to N pixels, for scans."
)


def standard_input() -> Any:
    """Standard input as bytes."""
    return sys.stdin.buffer


class Meter:
    """Shows how many pictures are done and how fast, and counts those that cannot be read.

    Args:
        doing: what is being done: ``"Classifying"``.

    Attributes:
        done: pictures that have a result.
        bad: those of them that cannot be read.
        before: pictures that had a result before this command.
    """

    EVERY = 0.2
    """Seconds between updates."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self.done = self.bad = self.before = 0
        self._began = self._shown = time.monotonic()
        self._first = 0.0

    def watch(self, results: Iterable[R]) -> Iterator[R]:
        """``results``, which are counted as they pass; a summary follows the last."""
        bar = open_bar(self._doing, None)
        named: list[R] = []
        try:
            for result in results:
                self._count(result, named, bar)
                yield result
        finally:
            bar.close()
            self._sum_up(named)

    def refuse_none(self) -> None:
        """Refuse to call it a success that not one picture could be read.

        Raises:
            DataError: it is so.
        """
        if 0 < self.done == self.bad and not self.before:
            every = "The image" if self.done == 1 else f"None of the {counted(self.done, 'image')}"
            raise DataError(f"{every} {'cannot' if self.done == 1 else 'can'} be read.")

    def _count(self, result: R, named: list[R], bar: Bar) -> None:
        now = time.monotonic()
        self._first = self._first or now
        self.done += 1
        if result.reason:
            self.bad += 1
            if len(named) < SHOWN:
                named.append(result)
        if now - self._shown >= self.EVERY:
            self._shown = now
            bar.update(self.done, self._doing, self._speed(now))

    def _speed(self, now: float) -> str:
        """Images per second since the first, before which the network was loaded."""
        seconds = now - self._first
        return f"{(self.done - 1) / seconds:,.0f} images/s" if seconds > 0 else ""

    def _sum_up(self, named: list[R]) -> None:
        from cnn_registry.data.image import READ_LARGER, are_too_large

        for result in named:
            note(f"cannot be read: {result.image}: {result.reason}")
        if self.bad > len(named):
            note(f"cannot be read: {self.bad - len(named):,} more, which the results name")
        if self.bad and (self.bad < self.done or self.before):
            note(f"{self.bad:,} of {counted(self.done, 'image')} cannot be read.")
        if are_too_large(result.reason for result in named):
            note(READ_LARGER)
        if self.done > MANY:
            now = time.monotonic()
            took = f"{counted(self.done, 'image')} in {now - self._began:.1f} s"
            note(f"{took}; once the network was loaded, {self._speed(now)}.")


def file_option(help_text: str, *, required: bool = False) -> Callable[[F], F]:
    """``-o FILE``."""
    return click.option(
        "-o",
        "--out",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        required=required,
        help=help_text,
    )
