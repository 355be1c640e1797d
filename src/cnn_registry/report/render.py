"""Pages: HTML files that need nothing else.

Names of classes and files come from others. The templates escape everything that they are given, what a terminal would
obey is written as an escape, and the page's own policy lets no script run but the one that is in it from the start.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import RunError
from cnn_registry.system.files import check_own, write_file
from cnn_registry.text import printable

from .glossary import WORDS

if TYPE_CHECKING:
    from jinja2 import Environment

GENERATOR = "cnn_registry"
"""What the pages of this package name in their head as what made them."""

HEAD = 2000
"""Bytes of a file in which that stands."""

TEMPLATES = Path(__file__).with_name("templates")


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all; a file that is not a page of this package stays.

    Raises:
        RunError: as `check_page`, or the page cannot be written.
    """
    check_page(path)
    write_file(path, page)


def check_page(path: Path) -> None:
    """Refuse a place for a page before the work whose results it shows.

    Raises:
        RunError: there is a file that is not a page of this package.
    """
    check_own(path)
    if path.exists():
        try:
            with path.open("rb") as file:
                ours = f'<meta name="generator" content="{GENERATOR}'.encode() in file.read(HEAD)
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
        if not ours:
            raise RunError(f"{path} was not written by cnnreg; move it elsewhere, or name another file with -o.")


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """A page of one of the templates."""
    script, version = _script(), metadata.version("cnn-registry")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    from markupsafe import Markup

    page = _environment().get_template(template)
    return page.render(
        {
            "generator": f"{GENERATOR} {version}",
            "version": version,
            "style": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
            "script": Markup(script),
            "script_digest": f"sha256-{digest}",
            "meanings": {word.key: word.meaning for word in WORDS},
            **context,
        }
    )


def _script() -> str:
    return "\n" + (TEMPLATES / "page.js").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(shown=lambda text: printable(str(text)), percent=percent)
    return environment


def percent(value: float) -> str:
    """A share for people."""
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
