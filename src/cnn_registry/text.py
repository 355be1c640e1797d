"""Lines for people: nearest names, errors in one line, natural order, and text as wide as a terminal shows it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from os import PathLike
from unicodedata import category

JOINER = "\u200d"
"""Joins emoji into one."""

SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"

LONGEST_NAME = 200
"""Columns of a name or a value in a message."""

MOST_DIGITS = 1000
"""Digits of a number in a name; Python reads no integers of several thousand."""

STYLES = re.compile(r"\x1b\[[0-9;]*m")
"""What tells a terminal to change colours or type."""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """The end of a message about an unknown ``name``: the nearest of ``candidates``, or an empty string.

    >>> suggestion("vgg_16", ["alexnet", "vgg16"])
    " Did you mean 'vgg16'?"
    """
    import difflib

    if len(name) > LONGEST_NAME:  # nobody mistypes so much, and the comparison takes time
        return ""
    by_lower = {candidate.lower(): candidate for candidate in candidates if len(candidate) <= LONGEST_NAME}
    nearest = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not nearest:
        return ""
    return f" Did you mean {either(by_lower[match] for match in nearest)}?"


def one_line(error: BaseException) -> str:
    """What ``error`` is and says, in one line of at most 400 characters, even if it cannot print itself.

    A final full stop is left out, as the line is a part of a sentence. So are codes for colours and bold type, which
    Keras puts into its messages.
    """
    import textwrap

    try:
        text = STYLES.sub("", str(error)).strip()
    except Exception:
        text = "(its message cannot be printed)"
    name = type(error).__name__
    text = without_addresses(f"{name}: {text}" if text else name)
    return unstopped(textwrap.shorten(text, width=400, placeholder=" ..."))


def without_addresses(text: str) -> str:
    """``text`` with objects as their types alone: an address in memory says nothing to anybody.

    >>> without_addresses("<_io.BytesIO object at 0x7fb7c3a4b290>")
    '<_io.BytesIO object>'
    """
    return re.sub(r" at 0x[0-9a-fA-F]{6,}(?=>)", "", text)


def unstopped(sentence: str) -> str:
    """A sentence without its full stop; three of them stay."""
    return sentence if sentence.endswith("..") else sentence.removesuffix(".")


def snake_case(name: str) -> str:
    """``Conv2D`` as ``conv2d``, ``BatchNormalization`` as ``batch_normalization``, as Keras names what has no name."""
    words = re.sub("(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", words).lower()


def as_text(name: str) -> str:
    r"""A file's name as text that can be kept: bytes of it that are not UTF-8 are written as ``\udcff``."""
    return name.encode(errors="backslashreplace").decode()


def without_credentials(text: str) -> str:
    """``text`` without the user and the password of the addresses in it."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)  # up to the last one, as passwords may have others


def printable(text: str) -> str:
    r"""``text`` in one line: what a terminal obeys or does not show is written as an escape, ``\x1b`` for instance.

    Names of files and classes come from others, and any of them may reach a terminal. Marks that turn the direction of
    writing are also escaped, and so are bytes of a file's name that are not UTF-8. The joiner of emoji is kept.
    """
    if text.isprintable():
        return text
    pairs = zip(f" {text}", text, strict=False)
    return "".join(c if _is_shown(c, last) else c.encode("unicode_escape").decode() for last, c in pairs)


def _is_shown(c: str, last: str) -> bool:
    return c.isprintable() or category(c) == "Zs" or (c == JOINER and category(last) in ("So", "Sk", "Mn"))


def cell_width(text: str) -> int:
    """The columns that ``text`` takes on a terminal: two for a Chinese character, none for a combining one.

    >>> cell_width("a"), cell_width("\u82b1"), cell_width("e\u0301")
    (1, 2, 1)
    """
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def shell_path(path: str | PathLike[str]) -> str:
    """A path as a word of a command to copy: quoted for a shell, and not to be taken for an option.

    >>> shell_path("my runs")
    "'my runs'"
    >>> shell_path("-runs")
    './-runs'
    """
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def shorten(text: str, width: int, mark: str = "\u2026", head: float = 0.5) -> str:
    """``text`` in at most ``width`` columns of a terminal, with ``mark`` for its middle where it is wider.

    >>> shorten("inception_resnet_v2", 9)
    'ince\u2026t_v2'

    Args:
        text: in one line.
        width: columns, at least those of ``mark``.
        mark: stands for what is left out.
        head: share of the columns for the beginning of ``text``; the rest is for its end.
    """
    if cell_width(text) <= width:
        return text
    room = max(width - cell_width(mark), 0)
    text = text if len(text) < 100 * width else text[: 50 * width] + text[-50 * width :]  # the rest is left out anyway
    clusters = _clusters(text)
    begin = _fitting(clusters, math.ceil(room * head))
    end = _fitting(clusters[::-1], room - cell_width("".join(begin)))
    return "".join([*begin, mark, *end[::-1]])


def shorten_all(texts: Sequence[str], width: int, mark: str = "\u2026") -> list[str]:
    """Each text shortened, at the place where most of them still differ: the middle unless another is better."""

    def shortened(head: float) -> list[str]:
        return [shorten(text, width, mark, head) for text in texts]

    in_the_middle = shortened(0.5)
    if len(set(in_the_middle)) == len(set(texts)):
        return in_the_middle
    return max((in_the_middle, *map(shortened, (0.25, 0.75, 0.0, 1.0))), key=lambda found: len(set(found)))


def _fitting(clusters: Sequence[str], width: int) -> list[str]:
    """As many of the first ``clusters`` as fit."""
    fitting = []
    for cluster in clusters:
        width -= cell_width(cluster)
        if width < 0:
            break
        fitting.append(cluster)
    return fitting


def _clusters(text: str) -> list[str]:
    """The characters of ``text``, each with what combines with it."""
    clusters: list[str] = []
    for c in text:
        combines = category(c) in ("Mn", "Mc", "Me") or c == JOINER or c in SKIN_TONES
        if clusters and (combines or clusters[-1].endswith(JOINER)):
            clusters[-1] += c
        else:
            clusters.append(c)
    return clusters


def wrapped(text: str, width: int, indent: str = "") -> str:
    """``text`` broken at spaces into lines of at most ``width`` columns; a longer word has a line of its own.

    Args:
        text: in one line.
        width: columns of a terminal.
        indent: what the second and later lines begin with.
    """
    lines = [""]
    for word in re.findall(r" *[^ ]+", text):
        if lines[-1] and cell_width(lines[-1] + word) > width:
            lines.append(indent + word.lstrip(" "))
        else:
            lines[-1] += word
    return "\n".join(lines)


def counted(count: int, noun: str) -> str:
    """``count`` with its noun.

    >>> counted(1, "epoch"), counted(1360, "image"), counted(2, "class"), counted(2, "category")
    ('1 epoch', '1,360 images', '2 classes', '2 categories')
    """
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def quoted(value: object) -> str:
    """``value`` as Python writes it, with its middle left out where it is long."""
    return shorten(repr(value), LONGEST_NAME)


def listing(names: Iterable[str], at_most: int = 10) -> str:
    """Names in quotes, long ones shortened: the first ones, and how many more there are."""
    names = list(names)
    return _and_more(list(map(quoted, names[:at_most])), len(names))


def enumerated(texts: Iterable[str], at_most: int = 10) -> str:
    """Texts as they are: the first ones, and how many more there are.

    >>> enumerated(["a.png", "b.png", "c.png"], at_most=2)
    'a.png, b.png and 1 more'
    """
    texts = list(texts)
    return _and_more(texts[:at_most], len(texts))


def _and_more(shown: Sequence[str], count: int) -> str:
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more


def either(names: Iterable[str]) -> str:
    """``"'a' or 'b'"``, ``"'a', 'b' or 'c'"``."""
    *others, last = map(quoted, names)
    return f"{', '.join(others)} or {last}" if others else last


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sorts ``vgg11`` before ``vgg100``, and any case alike."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(part), "") if part.isdecimal() and len(part) <= MOST_DIGITS else (-1, part) for part in parts]
