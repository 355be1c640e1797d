"""Files of a run with anything in them: a reader gives what was written, or one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_registry.errors import CnnRegistryError
from cnn_registry.inference.feature_rows import features_done
from cnn_registry.inference.line_file import LineFile
from cnn_registry.inference.prediction_rows import csv_done, csv_line, header, json_done
from cnn_registry.inference.sources import find_pictures
from cnn_registry.report.summary import read_summary
from cnn_registry.runs.checkpoints import _state
from cnn_registry.runs.history import csv_text, read_history
from cnn_registry.runs.run import Run
from cnn_registry.runs.snapshot import Layout

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""Whatever JSON can hold, and what Python writes of it besides."""

BYTES = st.binary(max_size=200)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in nested data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def changed(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    """``data`` with another value in one place."""
    if not place:
        return value
    copied = data.copy()
    copied[place[0]] = changed(data[place[0]], place[1:], value)
    return copied


def in_one_line(error: CnnRegistryError) -> None:
    assert str(error).isprintable()
    assert len(str(error)) < 1500


@pytest.fixture(scope="module")
def documents(trained_once: Path) -> dict[str, Any]:
    record = json.loads((trained_once / "run.json").read_text())
    del record["sha256"]
    return {"run.json": record, "report.json": json.loads((trained_once / "report.json").read_text())}


@given(data=st.data())
def test_a_record_or_a_report_with_any_value(trained: Path, documents: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(documents)))
    place = data.draw(st.sampled_from(places(documents[name])))
    (trained / name).write_text(json.dumps(changed(documents[name], place, data.draw(VALUES))), errors="surrogatepass")
    if name == "report.json":
        (trained / "run.json").write_text(json.dumps(documents["run.json"]))
    try:
        run = Run.open(trained)
        assert isinstance(repr(run), str)
        assert run.status
        read_summary(run)
    except CnnRegistryError as error:
        in_one_line(error)


@pytest.mark.parametrize("epoch", [float("nan"), 1e400, 10**400, -(2**64), "1", True, [1], None])
def test_figures_that_are_not_numbers(trained: Path, documents: dict[str, Any], epoch: object) -> None:
    for name in ("epoch", "val_accuracy"):
        record = changed(documents["run.json"], ("result", "best", name), epoch)
        (trained / "run.json").write_text(json.dumps(record))
        try:
            assert repr(Run.open(trained))
        except CnnRegistryError as error:
            in_one_line(error)
    record = documents["run.json"] | {"x" * 10**6: 1}
    (trained / "run.json").write_text(json.dumps(record))
    with pytest.raises(CnnRegistryError) as raised:
        Run.open(trained)
    in_one_line(raised.value)


@given(position=st.integers(0, 2000), bit=st.integers(0, 7))
def test_a_flipped_bit_of_a_history(trained: Path, position: int, bit: int) -> None:
    file = trained / "history.csv"
    good = (trained / "copy.csv").read_bytes() if (trained / "copy.csv").exists() else file.read_bytes()
    (trained / "copy.csv").write_bytes(good)
    content = bytearray(good)
    content[position % len(content)] ^= 1 << bit
    file.write_bytes(content)
    try:
        rows = read_history(file)
        assert csv_text(rows).count("\n") == len(rows) + 1
        assert all(len(row.line(9).splitlines()) == 1 for row in rows)
    except CnnRegistryError as error:
        in_one_line(error)


ROW = {
    **{"epoch": 1, "loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "learning_rate": 0.1},
    **{"seconds": 1.0, "images_per_second": 2.0, "metrics": {"auc": 0.5}},
}
SPEC = ["conv/kernel", [3, 3], "float32"]
STATE = {
    **{"format": 2, "step": 6, "seconds": 0.0, "averaged": [0, 6], "history": [ROW], "callbacks": {"a": 1}},
    "variables": {group: [SPEC] for group in ("model", "optimizer", "metrics", "average")},
}


@given(data=st.data())
def test_a_state_with_any_value(tmp_path: Path, data: st.DataObject) -> None:
    (directory := tmp_path / "step-000000006").mkdir(exist_ok=True)
    state = changed(STATE, data.draw(st.sampled_from(places(STATE))), data.draw(VALUES))
    (directory / "state.json").write_text(json.dumps(state), errors="surrogatepass")
    try:
        found = _state(directory, Layout(6, {}))
        assert found.step == 6
        for specs in (found.variables or {}).values():
            assert all(isinstance(spec.nbytes, int) and spec.stored for spec in specs)
    except CnnRegistryError as error:
        in_one_line(error)
    except (ValueError, TypeError, OverflowError, RecursionError):  # which makes it a damaged checkpoint
        pass


@settings(max_examples=100)
@given(content=BYTES | st.builds(lambda value: json.dumps(value).encode() + b"\n", VALUES))
def test_lists_and_results_with_any_content(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "x"
    for first, done in (
        (csv_line(header(1)), lambda lines: csv_done(lines, header(1))),
        ("", json_done),
        ("", features_done),
    ):
        file.write_bytes(first.encode() + b"\n" + content if first else content)
        before = file.read_bytes()
        try:
            with LineFile(file, first, resume=True) as lines:
                list(done(lines.read()))
        except (CnnRegistryError, ValueError):  # which the command reports
            assert file.read_bytes() == before
    file.write_bytes(content.replace(b"/", b"").replace(b".", b""))  # which may name a folder of this machine
    try:
        for picture in find_pictures([f"@{file}"], None):  # type: ignore[arg-type]  # standard input is not named
            assert picture.name
    except CnnRegistryError as error:
        in_one_line(error)
