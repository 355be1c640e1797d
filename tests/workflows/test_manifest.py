"""Training on images that a table names, from the first command to those that use the run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cnn_registry import resume, train
from cnn_registry.data import Manifest
from cnn_registry.errors import RunError
from cnn_registry.runs.run import Run
from tests.conftest import UNVARIED

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

pytestmark = pytest.mark.slow

FAST = UNVARIED | {"epochs": 1, "batch_size": 16, "image_size": 16}


@pytest.fixture
def table(own_colours: Path) -> Path:
    """A table of the coloured pictures, in groups of four, those of blue with half the weight."""
    file = own_colours / "photos.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["path", "colour", "group", "weight"])
        for path in sorted(own_colours.rglob("*.png")):
            colour = path.parent.name
            rows.writerow(
                [path.relative_to(own_colours), colour, f"{colour}{int(path.stem) // 4}", 1 - (colour == "blue") / 2]
            )
    return file


def test_every_command_finds_the_images_of_a_table(tiny: str, table: Path, tmp_path: Path, cnnreg: Cnnreg) -> None:
    settings = [argument for key, value in FAST.items() for argument in ("--set", f"{key}={value}")]
    given = ["--data", table, "--label-column", "colour"]
    code, out, err = cnnreg("train", tiny, *given, *settings, "--out", tmp_path / "runs")
    assert (code, "finished: " in out) == (0, True)
    assert "No group of 15 groups is in two parts: 20% of the images are for validation, 20% to 20% of a class." in err
    [path] = (tmp_path / "runs").iterdir()
    run = Run.open(path)
    assert run.record.data.given == str(table)
    assert run.record.data.columns == {"label_column": "colour"}
    assert run.record.data.class_names == ["blue", "green", "red"]
    assert run.record.split.val[0].startswith("blue/")

    code, out, _ = cnnreg("evaluate", path, "--json")
    assert (code, json.loads(out)["images"]) == (0, 12)
    code, out, _ = cnnreg("evaluate", path, *given, "--part", "train", "--json")
    assert (code, json.loads(out)["images"]) == (0, 48)
    moved = table.parent.rename(tmp_path / "moved") / table.name
    code, _, err = cnnreg("report", path, "--data", moved)
    assert (code, "no thumbnails" in err) == (0, False)
    code, out, err = cnnreg("train", "--resume", path, "--data", moved, "--set", "epochs=2")
    assert (code, Run.open(path).record.data.given) == (0, str(moved))

    moved.write_text(moved.read_text(encoding="utf-8").replace("0.5", "0.25"), encoding="utf-8")
    with pytest.raises(RunError, match=r"the weights of the images at .* have changed"):
        resume(path, settings={"epochs": 3})


def test_folds_keep_groups_whole_and_columns_are_checked(
    tiny: str, table: Path, tmp_path: Path, cnnreg: Cnnreg
) -> None:
    run = train(
        tiny,
        data=Manifest(table, label_column="colour"),
        split="fold-2-of-5",
        settings=FAST,
        out=tmp_path,
        report=False,
    )
    parts = (run.record.split.train, run.record.split.val)
    blocks = [{(name.split("/")[0], int(Path(name).stem) // 4) for name in part} for part in parts]
    assert (len(blocks[0]), len(blocks[1]), blocks[0] & blocks[1]) == (12, 3, set())
    for arguments, message in (
        (["--data", table], "has no column 'label'."),
        (["--data", table.parent, "--label-column", "colour"], "is a folder; columns are those of a table"),
        (["--label-column", "colour"], "--label-column is for a table; name the table with --data."),
        (["--data", table, "--label-column", "colour", "--dataset", "digits"], "Columns are those of a table"),
    ):
        code, _, err = cnnreg("train", tiny, *arguments, "--out", tmp_path / "none")
        assert (code, message in err, err.count("\n")) == (2 if "--data" not in arguments else code, True, 1)
        assert code
    assert not (tmp_path / "none").exists()
    code, out, _ = cnnreg("train", tiny, "--data", table, "--label-column", "colour", "--dry-run")
    assert (code, "data: " + str(table) in out) == (0, True)
    command = ["lr-find", tiny, "--data", table, "--label-column", "colour", "--group-column", "", "--steps", "20"]
    code, out, _ = cnnreg(*command)
    assert (code, f"train tiny --data {table} --label-column colour --group-column ''" in out) == (0, True)


def test_a_record_with_other_columns_is_refused(tiny: str, trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    record.pop("sha256")
    record["data"]["columns"] = {"file": "/etc/passwd"}
    (trained / "run.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match="expected the columns path_column"):
        Run.open(trained)
