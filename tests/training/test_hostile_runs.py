"""A ``run.json`` that is not what was written: damaged on the disk, or made by someone else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_registry.errors import RunError
from cnn_registry.training.run import Run

FLIPS = 1000
"""Random bits that are flipped, beside all of the digest's."""


@pytest.fixture(scope="module")
def written(trained_once: Path) -> bytes:
    return (trained_once / "run.json").read_bytes()


def refusal(folder: Path, content: bytes) -> str:
    """The one line with which a record is refused."""
    (folder / "run.json").write_bytes(content)
    with pytest.raises(RunError) as caught:
        Run.open(folder)
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_every_flipped_bit_is_detected(written: bytes, tmp_path: Path) -> None:
    bits = len(written) * 8
    chosen = set(range(bits - 90 * 8, bits)) | set(random.Random(0).sample(range(bits), FLIPS))
    for bit in chosen:
        damaged = bytearray(written)
        damaged[bit // 8] ^= 1 << bit % 8
        assert "run.json is " in refusal(tmp_path, bytes(damaged))


@given(data=st.data())
def test_every_edit_is_detected(written: bytes, tmp_path: Path, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(start, min(len(written), start + 80)))
    edited = written[:start] + data.draw(st.binary(max_size=80)) + written[end:]
    if edited != written:
        refusal(tmp_path, edited)


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_what_is_no_record_is_refused(tmp_path: Path, content: bytes) -> None:
    refusal(tmp_path, content)


def test_a_truncated_record_is_refused(written: bytes, tmp_path: Path) -> None:
    for length in range(0, len(written), 97):
        refusal(tmp_path, written[:length])


def test_a_record_that_nests_deeply_is_refused(written: bytes, tmp_path: Path) -> None:
    nested = b'"result": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"},"
    refusal(tmp_path, written.replace(b'"result": {', nested + b'"other": {', 1))


def test_a_record_changed_by_hand_is_refused_until_its_digest_is_taken_out(trained: Path) -> None:
    file = trained / "run.json"
    changed = file.read_text().replace('"red"', '"crimson"')
    file.write_text(changed)
    with pytest.raises(RunError, match=r'run\.json is not what was written: .* remove "sha256" from its end\.$'):
        Run.open(trained)
    file.write_text(changed[: changed.rindex(',\n  "sha256"')] + "\n}\n")
    assert "crimson" in Run.open(trained).record.data.class_names
