from __future__ import annotations

from pathlib import Path

import pytest

from cnn_registry.errors import RunError
from cnn_registry.files import is_temporary, whole_directory, whole_file


def test_a_directory_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with whole_directory(tmp_path / "there") as temporary:
            (temporary / "file").write_text(text)
            assert is_temporary(temporary)
        assert (tmp_path / "there" / "file").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("whole", [whole_file, whole_directory])
def test_what_fails_leaves_nothing_and_what_was_there(tmp_path: Path, whole: type) -> None:
    with whole_directory(tmp_path / "there") as temporary:
        (temporary / "file").write_text("as it was")
    with (
        pytest.raises(RunError, match=r"there cannot be written: No space left on device\.$"),
        whole(tmp_path / "there"),
    ):
        raise OSError(28, "No space left on device")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "there"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there" / "file").read_text() == "as it was"
