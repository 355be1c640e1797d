"""What may be in the folder of an export, whoever has put it there."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from cnn_registry.errors import UsageError
from cnn_registry.export.target import RECORD, SAME, digests, refuse_taken
from cnn_registry.report.compare import _size
from cnn_registry.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

FACTS = dict.fromkeys(SAME, "x")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    (folder / RECORD).write_text(json.dumps(FACTS | {"files": digests(folder)}))
    refuse_taken(folder, FACTS)
    return folder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such pipes")
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "nothing"])
def test_what_has_no_end_is_not_read(exported: Path, kind: str) -> None:
    item = exported / "more"
    if kind == "pipe":
        os.mkfifo(item)
    else:
        item.symlink_to({"device": "/dev/zero", "link": "model.bin", "nothing": "nowhere"}[kind])
    with pytest.raises(UsageError, match="is not an unchanged export"):
        refuse_taken(exported, FACTS)
    assert os.path.lexists(item)


@pytest.mark.parametrize("record", ["[" * 100_000, "{}", "null", '{"files": 1}', "\udcff"])
def test_a_record_that_cannot_be_read_is_refused(exported: Path, record: str) -> None:
    (exported / RECORD).write_text(record, errors="surrogateescape")
    with pytest.raises(UsageError, match="is not an unchanged export"):
        refuse_taken(exported, FACTS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no such pipes")
def test_weights_that_have_no_end_are_not_opened_to_be_counted(trained: Path) -> None:
    run = Run.open(trained)
    assert min(_size(run)) > 0
    run.best_weights.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 5000)
    assert _size(run) == (0, 0)
    run.best_weights.unlink()
    os.mkfifo(run.best_weights)
    assert _size(run) == (0, 0)
