"""Text for people: what a terminal may be shown, and how wide it is there."""

from __future__ import annotations

import doctest
import time

import pytest

from cnn_registry import text
from cnn_registry.text import (
    cell_width,
    one_line,
    printable,
    quoted,
    shorten,
    shorten_all,
    suggestion,
    without_credentials,
    wrapped,
)

FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
SCIENTIST = "\N{WOMAN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}\u200d\N{MICROSCOPE}"


def test_the_examples_hold() -> None:
    assert doctest.testmod(text).failed == 0


@pytest.mark.parametrize(
    ("shown", "width"),
    [("", 0), ("vgg16", 5), ("日本", 4), ("\uff21", 2), ("Cafe\u0301", 4), ("ﾊﾝ", 2), ("가", 2), ("🌷", 2)],
)
def test_the_width_is_in_columns_of_a_terminal(shown: str, width: int) -> None:
    assert cell_width(shown) == width


@pytest.mark.parametrize("name", ["a" * 115, "花" * 60, "Cafe\u0301" * 30, "🌷🌹" * 40, FAMILY * 20, "x"])
@pytest.mark.parametrize("width", [1, 2, 7, 8, 30])
def test_a_shortened_text_fits_and_keeps_both_ends(name: str, width: int) -> None:
    short = shorten(name, width)
    assert cell_width(short) <= width
    begin, mark, end = short.partition("…")
    assert name.startswith(begin)
    assert name.endswith(end)
    assert mark or short == name


def test_what_combines_is_not_separated() -> None:
    assert shorten("e\u0301" * 20, 4) == "e\u0301e\u0301…e\u0301"
    assert shorten(SCIENTIST + "a" * 20 + SCIENTIST, 20).startswith(SCIENTIST)
    assert shorten("a" * 20 + SCIENTIST, 12).endswith((SCIENTIST, "…"))


def test_a_text_of_millions_of_characters_is_shortened_at_once() -> None:
    begun = time.process_time()
    assert shorten("a" + "b" * 5_000_000 + "c", 5) == "ab…bc"
    assert time.process_time() - begun < 1


def test_a_place_is_chosen_where_names_still_differ() -> None:
    names = [f"a very long name of class {number:03} of the folder" for number in range(100)]
    assert len(set(shorten_all(names, 40))) == 100
    beginnings = [f"{number:03} of the classes in a folder with a long name" for number in range(100)]
    assert shorten_all(beginnings, 12)[7].startswith("007")


def test_lines_break_at_spaces_only() -> None:
    assert wrapped("one two three", 7, "  ") == "one two\n  three"
    assert wrapped("/a/path/of/many/letters and more", 9) == "/a/path/of/many/letters\nand more"
    assert wrapped("花 花花 花", 7) == "花 花花\n花"
    assert wrapped("key:   value", 80) == "key:   value"


@pytest.mark.parametrize("name", [FAMILY, SCIENTIST, "❤\ufe0f\u200d🔥"])
def test_joined_emoji_stay_whole(name: str) -> None:
    assert printable(name) == name


def test_a_joiner_elsewhere_is_an_escape() -> None:
    assert printable("c\u200dat") == r"c\u200dat"
    assert printable("\u202egnp.exe") == r"\u202egnp.exe"


def test_an_error_in_one_line_has_no_codes_for_colours_and_whole_words() -> None:
    error = ValueError(f"Exception \x1b[1mConv2D.call()\x1b[0m.\n\n\x1b[31;1m{'several words ' * 50}\x1b[0m")
    line = one_line(error)
    assert line.startswith("ValueError: Exception Conv2D.call(). several words several")
    assert line.endswith(("words ...", "several ..."))
    assert len(line) <= 400


def test_an_error_is_part_of_a_sentence() -> None:
    assert one_line(ValueError("No space left.")) == "ValueError: No space left"
    assert one_line(ValueError("and so on...")) == "ValueError: and so on..."
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("word " * 100)).endswith("word ...")


def test_what_is_very_long_is_shortened_and_not_compared() -> None:
    assert quoted("a") == "'a'"
    assert cell_width(quoted("花" * 10_000)) <= 200
    assert quoted([1] * 1_000).endswith(", 1, 1]")
    assert suggestion("vgg16" * 10_000, ["vgg16"]) == suggestion("vgg16", ["vgg16" * 10_000]) == ""


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host/tune", "postgresql://host/tune"),
        ("postgresql://me:p@ss@host/tune", "postgresql://host/tune"),
        ("--set x=https://host/a?mail=me@here", "--set x=https://host/a?mail=me@here"),
        ("https://me@one/ and https://two", "https://one/ and https://two"),
    ],
)
def test_addresses_are_shown_without_credentials(address: str, shown: str) -> None:
    assert without_credentials(address) == shown
