"""Fonts that have the letters of a plot's texts, whatever the language."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cnn_registry.system.progress import note
from cnn_registry.system.quiet import quiet_matplotlib
from cnn_registry.text import JOINER, printable

DEFAULT = "DejaVu Sans"
"""Comes with Matplotlib, and has Latin, Greek and Cyrillic letters, and many symbols."""

PREFERRED = (
    "Noto Sans CJK SC",
    "Noto Sans CJK",
    "Source Han Sans",
    "WenQuanYi",
    "Droid Sans Fallback",
    "PingFang",
    "Hiragino Sans",
    "Microsoft YaHei",
    "SimHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Apple SD Gothic",
    "Noto Emoji",
    "Symbola",
    "Segoe UI Emoji",
    "Noto Sans",
)
"""Beginnings of the names of fonts that have many letters; they are tried first, in this order."""

TRIED = 300
"""Fonts that are looked into at most."""

BOX = "\N{WHITE SQUARE}"
"""Stands for a letter that no font has."""


@dataclass(frozen=True)
class Lettering:
    """How texts are drawn.

    Attributes:
        families: names of fonts; each letter is drawn in the first one that has it.
        missing: letters that none of the installed fonts has.
    """

    families: tuple[str, ...]
    missing: frozenset[str]

    def has(self, text: str) -> bool:
        """Whether all of ``text`` can be drawn."""
        return not self.missing & set(drawn(text))

    def width(self, text: str, size: float) -> float:
        """Inches that ``text`` takes in letters of ``size`` points."""
        from matplotlib.backends.backend_agg import RendererAgg
        from matplotlib.font_manager import FontProperties

        font = FontProperties(family=list(self.families), size=size)
        renderer: Any = RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]  # Matplotlib has no types for it
        width, _, _ = renderer.get_text_width_height_descent(text, font, ismath=False)
        return float(width) / 72

    def set_in(self, figure: Any) -> None:
        """Have all texts of a figure drawn in these fonts, letter by letter: a dollar sign in a name is one."""
        from matplotlib.text import Text

        for text in figure.findobj(Text):
            text.set_fontfamily(list(self.families))
            text.set_parse_math(False)
            text.set_usetex(False)

    def shown(self, text: str) -> str:
        """``text`` as it can be drawn, with boxes for missing letters."""
        return "".join(BOX if letter in self.missing else letter for letter in drawn(text))


@quiet_matplotlib()
def lettering(texts: Iterable[str]) -> Lettering:
    """Fonts for ``texts``. A note names the letters that no installed font has."""
    from matplotlib.font_manager import findfont

    needed = {ord(letter) for text in texts for letter in drawn(text)} - _letters(findfont(DEFAULT))
    families = [DEFAULT]
    for fonts in (_installed, _installed_since):
        for family, path in fonts() if needed else ():
            if has := needed & _letters(path):
                families.append(family)
                needed -= has
                if not needed:
                    break
    missing = "".join(map(chr, sorted(needed)))
    if missing:
        note(
            f"No installed font has {' '.join(missing[:5])}{' ...' if missing[5:] else ''}: plots show boxes instead, "
            f"and numbers for the names of classes, which are lines of labels.txt. Noto Sans CJK and Noto Emoji have "
            f"most letters."
        )
    return Lettering(tuple(families), frozenset(missing))


def drawn(text: str) -> str:
    """``text`` in composed form and in one line, without what only chooses the form of a letter."""
    composed = unicodedata.normalize("NFC", printable(text))
    return "".join(letter for letter in composed if letter != JOINER and not "\ufe00" <= letter <= "\ufe0f")


def _installed() -> Iterator[tuple[str, str]]:
    """Names and files of upright fonts of normal weight, one per family, the preferred ones first."""
    from matplotlib.font_manager import fontManager, weight_dict

    def weight(given: str | int) -> int:
        return given if isinstance(given, int) else weight_dict.get(given, 400)

    def rank(name: str) -> int:
        return next((place for place, begin in enumerate(PREFERRED) if name.startswith(begin)), len(PREFERRED))

    normal = (font for font in fontManager.ttflist if font.style == "normal" and 300 <= weight(font.weight) <= 500)
    files = {font.name: font.fname for font in normal if not font.name.startswith(("Last Resort", "STIX", "cm"))}
    for name in sorted(files, key=lambda name: (rank(name), name))[:TRIED]:
        yield name, files[name]


def _installed_since() -> Iterator[tuple[str, str]]:
    """Likewise, with the fonts that were installed after Matplotlib made its list, which it keeps for good."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {font.fname for font in fontManager.ttflist}
    new = [path for path in findSystemFonts() if path not in known]
    for path in new:
        with suppress(OSError, RuntimeError, ValueError):  # it cannot be used, as one that is made of images
            fontManager.addfont(path)
    if new:
        yield from _installed()


def _letters(path: str) -> set[int]:
    """The code points that a font has; none if it cannot be used, as one that is made of images."""
    from matplotlib.ft2font import FT2Font

    try:
        return set(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return set()
