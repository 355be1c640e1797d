"""The order of names in a folder, and the paths that are made when they are asked for."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.data.paths import PathsBelow
from cnn_registry.data.walk import in_natural_order
from cnn_registry.text import natural_key

NAMES = st.lists(st.text(st.sampled_from("aB1209 -_.\u00e4\u0661"), min_size=1, max_size=24), max_size=12)


@given(names=NAMES)
def test_names_sorted_at_once_have_the_order_of_each_by_itself(names: list[str]) -> None:
    assert in_natural_order(names) == sorted(names, key=lambda name: (natural_key(name), name))


def test_long_numbers_and_odd_names_have_their_order() -> None:
    names = ["9" * 30, "10" * 30, "1\n2", "1\0", "", "image_0010", "image_2", "Image_2"]
    assert in_natural_order(names) == sorted(names, key=lambda name: (natural_key(name), name))
    assert in_natural_order(["n1_100.JPEG", "n1_99.JPEG", "N1_99.JPEG", "n1_9.JPEG"]) == [
        "n1_9.JPEG",
        "N1_99.JPEG",
        "n1_99.JPEG",
        "n1_100.JPEG",
    ]


def test_paths_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    paths = PathsBelow(tmp_path, ["a/1.png", "b/2.png", "b/3.png"])
    assert list(paths) == [tmp_path / "a/1.png", tmp_path / "b/2.png", tmp_path / "b/3.png"] == paths
    assert paths[1:] == paths.select([1, 2]) == (tmp_path / "b/2.png", tmp_path / "b/3.png")
    assert paths[-1] in paths
    assert list(paths.texts()) == [str(path) for path in paths]
    assert paths != [tmp_path]
    assert hash(paths) == hash(PathsBelow(tmp_path, ("a/1.png", "b/2.png", "b/3.png")))
