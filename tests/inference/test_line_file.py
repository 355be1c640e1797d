"""Files of results: what a killed job leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.inference.line_file import Done, LineFile
from cnn_registry.inference.pictures import Picture


def test_a_line_that_was_cut_is_removed_and_the_rest_is_appended(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("path,class\na,1\nb,2\nc,")
    with pytest.raises(UsageError, match=r"already exists\. Use --resume"):
        LineFile(file, "path,class")
    with pytest.raises(UsageError, match="has other columns"):
        LineFile(file, "path,class,more", resume=True)
    with LineFile(file, "path,class", resume=True) as lines:
        assert list(lines.read()) == ["a,1", "b,2"]
        lines.write(["c,3"])
    assert file.read_text() == "path,class\na,1\nb,2\nc,3\n"
    file.write_text("pa")
    with LineFile(file, "path,class", resume=True) as lines:
        assert list(lines.read()) == []
    assert file.read_text() == "path,class\n"
    (tmp_path / "link.csv").symlink_to(file)
    with pytest.raises(UsageError, match="is not a regular file"):
        LineFile(tmp_path / "link.csv", "path,class", resume=True)


def test_pictures_with_a_result_are_left_out_as_often_as_they_have_one() -> None:
    done = Done(["a", "b", "b"])
    pictures = [Picture(name, name) for name in "babcba"]
    assert [picture.name for picture in done.remaining(pictures, str)] == ["c", "b", "a"]
    assert [p.name for p in Done([]).remaining(pictures, str)] == list("babcba")


@pytest.mark.skipif(sys.platform == "win32", reason="no locks of this kind")
def test_a_file_that_another_process_writes_is_refused(tmp_path: Path) -> None:
    with LineFile(tmp_path / "x.jsonl") as lines:
        lines.write(['{"path": "a"}'])
        with pytest.raises(UsageError, match=r"Another process writes .*x\.jsonl; wait for its end"):
            LineFile(tmp_path / "x.jsonl", resume=True)
        lines.write(['{"path": "b"}'])
    with LineFile(tmp_path / "x.jsonl", resume=True) as lines:
        assert list(lines.read()) == ['{"path": "a"}', '{"path": "b"}']
