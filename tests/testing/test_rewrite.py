"""``cnnreg check --write``: numbers in a declaration are corrected, and nothing else is touched."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import get_spec
from cnn_registry.errors import UsageError
from cnn_registry.testing.rewrite import rewrite

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins

DECLARED = '''# Größen in Pixeln
from cnn_registry import Paper, register_model

PAPER = Paper(title="Tiny", authors="Doe", year=2020, url="https://example.org")


@register_model(
    family="tiny", summary="größer", paper=PAPER, input_shape=(32, 32, 3),
    trainable_params=1,  # with 1000 classes
    macs=7,
)
def one(input_shape, num_classes):
    """One convolution without padding."""
    import keras

    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, name="a")(inputs)
    x = keras.layers.Conv2D(4, 3, name="b")(x)
    x = keras.layers.GlobalAveragePooling2D(name="c")(x)
    outputs = keras.layers.Dense(num_classes, activation="softmax", name="d")(x)
    return keras.Model(inputs, outputs, name=input_shape and "one")


@register_model(family="tiny", summary="two", paper=PAPER, trainable_params=1, input_shape=(32, 32, 3), macs=1)
def two(input_shape, num_classes):
    return one(input_shape, num_classes)
'''
PARAMETERS = (27 + 1) * 4 + (36 + 1) * 4 + (4 + 1) * 1000
MACS = 15 * 15 * 27 * 4 + 13 * 13 * 36 * 4 + 4 * 1000


def installed(plugins: FakePlugins, *places: tuple[str, str], folder: str = "site", source: str = DECLARED) -> Path:
    for old, new in places:
        assert source.count(old) == 1
        source = source.replace(old, new)
    entries = {name: f"kit_tiny:{name}" for name in ("one", "two")}
    return plugins.install("kit-tiny", source=source, entries=entries, folder=folder).parent / "kit_tiny.py"


ONLY = ("--only", "parameters", "--only", "macs", "--only", "smallest")


def test_counts_and_the_smallest_size_are_written_and_shown(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    path = installed(plugins)
    path.chmod(0o640)
    before = path.read_text(encoding="utf-8")
    ended = cnnreg("check", "one", *ONLY, "--write")
    after = path.read_text(encoding="utf-8")
    assert ended.code == 0, ended
    assert after == before.replace(
        "    trainable_params=1,  # with 1000 classes\n    macs=7,\n",
        f"    trainable_params={PARAMETERS:_},  # with 1000 classes\n    min_size=7,\n    macs={MACS:_},\n",
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "+    min_size=7,\n" in ended.out
    assert "-    macs=7,\n" in ended.out
    again = cnnreg("check", "two", *ONLY[:4], "--write")
    assert again.code == 0
    assert f"trainable_params={PARAMETERS:_}, input_shape" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([("macs=7", "macs=3 + 4")], "its macs is not written as an integer"),
        ([("macs=7", "macs=True")], "its macs is not written as an integer"),
        ([("macs=7", '**{"macs": 7}')], "its arguments are not all written out"),
        ([("def one", "def other")], "no @"),
    ],
)
def test_what_is_written_in_another_way_is_refused(
    plugins: FakePlugins, places: list[tuple[str, str]], reason: str
) -> None:
    """The file is edited after it was imported, because some of these declarations would not pass."""
    path, text = installed(plugins), DECLARED
    spec = get_spec("one")
    for old, new in places:
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=f"^one: nothing was written, because {reason}.*Declare macs=1_000 yourself"):
        rewrite(spec, {"macs": 1000})
    assert path.read_text(encoding="utf-8") == text


def test_an_installed_copy_is_refused(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    path = installed(plugins, folder="site-packages")
    ended = cnnreg("check", "two", "--only", "parameters", "--write")
    assert ended.code == 1
    assert "two: nothing was written, because" in ended.out
    assert "is an installed copy" in ended.out
    assert path.read_text(encoding="utf-8") == DECLARED


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_a_byte_order_mark_stay(plugins: FakePlugins, end: str) -> None:
    path = installed(plugins)
    path.write_bytes(b"\xef\xbb\xbf" + DECLARED.replace("\n", end).encode())
    change = rewrite(get_spec("one"), {"non_trainable_params": 12_345})
    change.write()
    expected = DECLARED.replace("# with 1000 classes\n", "# with 1000 classes\n    non_trainable_params=12_345,\n")
    assert path.read_bytes() == b"\xef\xbb\xbf" + expected.replace("\n", end).encode()


def test_a_file_that_changes_meanwhile_is_left_alone(plugins: FakePlugins) -> None:
    path = installed(plugins)
    change = rewrite(get_spec("one"), {"macs": 8})
    path.write_text(f"{DECLARED}\n# edited\n", encoding="utf-8")
    with pytest.raises(UsageError, match="was changed while the checks ran"):
        change.write()
    assert path.read_text(encoding="utf-8").endswith("# edited\n")


def test_right_numbers_are_not_written(plugins: FakePlugins, cnnreg: Cnnreg) -> None:
    path = installed(plugins, ("trainable_params=1,  #", f"trainable_params={PARAMETERS},  #"))
    ended = cnnreg("check", "one", "--only", "parameters", "--write")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "The declared numbers are right; nothing was written.")
    assert f"trainable_params={PARAMETERS},  #" in path.read_text(encoding="utf-8")
    assert cnnreg("check", "one", "--write", "--json").code == 2
