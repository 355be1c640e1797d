"""The run directory as files."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import get_args

import pytest

from cnn_registry.errors import RunError, UsageError
from cnn_registry.runs.record import Status
from cnn_registry.runs.run import Run
from cnn_registry.system.files import whole_file


def test_everything_that_was_promised_is_there(trained: Path) -> None:
    assert {file.name for file in trained.iterdir()} == {
        "run.json",
        "history.csv",
        "best.weights.h5",
        "last.weights.h5",
        "curves.png",
        "confusion.png",
        "report.json",
        "report.html",
        "labels.txt",
        ".lock",
    }


def test_the_record_tells_everything(trained: Path, colours: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["model"]["spec"]["name"] == "tiny"
    assert record["model"]["spec"]["provider"]["distribution"] == "cnnreg-tiny"
    assert record["model"]["input_shape"] == [16, 16, 3]
    assert record["recipe"]["epochs"] == 3
    assert record["data"]["class_names"] == ["blue", "green", "red"]
    assert record["data"]["source"] == str(colours)
    assert {"python", "keras", "numpy", "cnn-registry"} <= record["versions"].keys()
    assert record["machine"]["cpus"] >= 1
    assert record["command"]
    assert {"last", "best", "best_by", "report"} == record["result"].keys()


def test_the_split_is_recorded_file_by_file(trained: Path, colours: Path) -> None:
    split = Run.open(trained).record.split
    assert (len(split.train), len(split.val), len(split.test)) == (48, 12, 0)
    assert not set(split.train) & set(split.val)
    assert all((colours / image).is_file() for image in [*split.train, *split.val])


def test_a_run_is_shown_in_one_short_line_and_as_a_small_table(trained: Path) -> None:
    run = Run.open(trained)
    assert repr(run) == (
        f"<Run {trained}: tiny, colours (3 classes), finished, validation accuracy 100.0% in epoch "
        f"{run.record.result['best']['epoch']:.0f}>"
    )
    hostile = run.record.data.model_copy(update={"name": "<script>alert(1)</script>\n" + "x" * 500})
    changed = Run(trained, run.record.model_copy(update={"data": hostile, "result": {}}))
    assert len(repr(changed)) < 200 + len(str(trained))
    assert "\n" not in repr(changed)
    page = changed._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert len(page) < 1000 + len(str(trained))


def test_a_run_has_its_classes_and_its_history(trained: Path) -> None:
    run = Run.open(trained)
    assert run.class_names == ("blue", "green", "red")
    assert [epoch.epoch for epoch in run.history] == [1, 2, 3]
    assert run.evaluate(part="train").accuracy == 1.0
    run.history_csv.unlink()
    with pytest.raises(RunError, match=r"history\.csv cannot be read"):
        _ = run.history


def test_a_run_that_was_stopped_in_its_first_epoch_has_no_history(trained: Path) -> None:
    run = Run.open(trained).finish("interrupted", {})
    run.history_csv.unlink()
    assert run.history == []


def test_a_run_whose_folder_is_elsewhere_is_not_to_be_trained_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(trained.parent)
    run = Run.open(Path(trained.name))
    (tmp_path / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "notes")
    with pytest.raises(RunError, match=r"There is no folder run in .*notes\. Change back to where the run was opened"):
        run.model()
    moved = Run(tmp_path / "gone", run.record)
    with pytest.raises(RunError, match=r"There is no folder .*gone any more\."):
        moved.model()


def test_open_reads_what_was_saved(trained: Path) -> None:
    run = Run.open(trained)
    run.save()
    assert Run.open(trained) == run


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_that_is_recorded_can_be_read(trained: Path, status: Status) -> None:
    ended = Run.open(trained).finish(status, {"error": "no disk"})
    assert Run.open(trained).record == ended.record
    assert (ended.record.status, ended.record.result) == (status, {"error": "no disk"})


def test_a_status_that_could_not_be_read_is_not_written(trained: Path) -> None:
    before = (trained / "run.json").read_bytes()
    with pytest.raises(UsageError, match=r"^status of a run: Input should be 'running', .* got 'done'\.$"):
        Run.open(trained).finish("done", {})  # type: ignore[arg-type]  # a wrong status is the point
    with pytest.raises(UsageError, match=r"^rollbacks of a run: .* got -1\.$"):
        Run.open(trained).updated(rollbacks=-1)
    with pytest.raises(UsageError, match=r"^satus of a run: Extra inputs are not permitted; got 'finished'\.$"):
        Run.open(trained).updated(satus="finished")  # type: ignore[call-arg]  # likewise
    assert (trained / "run.json").read_bytes() == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run directory.*run\.json"):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace('"format": 2', '"format": 3'), "format"),
        (lambda text: text.replace('"status": "finished"', '"status": "ready"'), "status"),
        (lambda text: text.replace('"epochs": 3', '"epochs": -3'), "recipe.epochs"),
        (lambda text: "[]", "damaged"),
    ],
)
def test_a_damaged_record_is_refused(trained: Path, damage: object, word: str) -> None:
    file = trained / "run.json"
    assert callable(damage)
    file.write_text(damage(file.read_text()))
    with pytest.raises(RunError, match=word):
        Run.open(trained)


def test_nothing_is_overwritten(trained: Path, tmp_path: Path) -> None:
    record = Run.open(trained).record
    first, second, third = (Run.create(tmp_path / "out", record).path for _ in range(3))
    assert len({first, second, third}) == 3
    assert all((path / "run.json").is_file() for path in (first, second, third))


def test_odd_names_make_plain_directories(trained: Path, tmp_path: Path) -> None:
    record = Run.open(trained).record
    odd = record.data.model_copy(update={"name": "../Blumen & Gräser\n", "class_names": ["a\nb", "c"]})
    run = Run.create(tmp_path / "out", record.model_copy(update={"data": odd}))
    assert run.path.parent == tmp_path / "out"
    assert run.path.name.isascii()
    assert (run.path / "labels.txt").read_text() == "a\\nb\nc\n"


def test_a_place_that_cannot_be_written_is_one_error(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="No run directory can be made"):
        Run.create(tmp_path / "file", Run.open(trained).record)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def write_half() -> None:
        with whole_file(target) as temporary:
            temporary.write_text("ne")
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"a\.txt cannot be written: No space left on device"):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.glob("*a.txt")) == [target]


def test_files_get_the_users_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    with whole_file(tmp_path / "ours") as temporary:
        temporary.write_text("")
    usual, ours = (stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours"))
    assert usual == ours
