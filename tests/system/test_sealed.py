"""Digests that show damage."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cnn_registry.system.sealed import json_digest, read_sealed, write_sealed


def test_the_digest_of_json_does_not_depend_on_the_order_of_keys() -> None:
    assert json_digest({"a": 1, "b": [2]}) == json_digest({"b": [2], "a": 1})
    assert json_digest({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()
    assert json_digest({"a": 1}) != json_digest({"a": 2})


@pytest.mark.parametrize("content", [b"", b"digests"])
def test_a_sealed_file_is_read_as_it_was_written(tmp_path: Path, content: bytes) -> None:
    write_sealed(tmp_path / "file", content)
    assert read_sealed(tmp_path / "file") == content


def test_a_damaged_missing_or_linked_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_sealed(file, b"digests")
    stored = file.read_bytes()
    for damaged in (stored[:-1], stored + b"\0", stored[:40][::-1], b""):
        file.write_bytes(damaged)
        assert read_sealed(file) is None, damaged
    file.write_bytes(stored)
    (tmp_path / "link").symlink_to(file)
    assert read_sealed(tmp_path / "link") is None
    assert read_sealed(tmp_path / "missing") is None
