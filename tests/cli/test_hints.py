"""What is answered to options, settings, names and paths that do not exist: each hint leads somewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import UNVARIED_OPTIONS

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


def refusal(cnnreg: Cnnreg, *arguments: object, code: int = 2) -> str:
    """The one line with which a command is refused."""
    ended = cnnreg(*arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    return ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--learning-rate", "0.5"], "--set optimizer.learning_rate=0.5"),
        (["--learning-rate=0.5"], "--set optimizer.learning_rate=0.5"),
        (["--learning-rate"], "--set optimizer.learning_rate=VALUE"),
        (["--bs", "8"], "--set batch_size=8"),
        (["-b", "8"], "--set batch_size=8"),
        (["--imgsz", "64"], "--set image_size=64"),
        (["--image_size", "64"], "--set image_size=64"),
        (["--wd", "1e-4"], "--set optimizer.weight_decay=1e-4"),
        (["--weight-decay", "1e-4"], "--set optimizer.weight_decay=1e-4"),
        (["--momentum", "0.9"], "--set optimizer.momentum=0.9"),
        (["--optimizer", "adam"], "--set optimizer=adam"),
        (["--patience", "3"], "--set early_stopping.patience=3"),
        (["--dropout", "0.5"], "--set model.dropout=0.5"),
        (["--mixup", "a b"], "--set 'mixing.mixup=a b'"),
        (["--num-epochs", "3"], "Did you mean --epochs?"),
        (["--data-dir", "x"], "Did you mean --data?"),
        (["--output", "x"], "Did you mean --out?"),
        (["--dta", "x"], "Did you mean --data?"),
        (["--checkpoint-minute", "1"], "Did you mean --checkpoint-minutes?"),
        (["--zzz"], "No such option '--zzz'. See: cnnreg train --help"),
    ],
)
def test_options_of_other_tools(cnnreg: Cnnreg, tiny: str, arguments: list[str], words: str) -> None:
    line = refusal(cnnreg, "train", tiny, *arguments)
    assert line.startswith(f"Error: No such option '{arguments[0].partition('=')[0]}'.")
    assert words in line


def test_elsewhere_only_options_of_the_command_are_named(cnnreg: Cnnreg) -> None:
    assert "Did you mean --names?" in refusal(cnnreg, "list", "--name")
    assert "Did you mean" not in refusal(cnnreg, "list", "--lr")
    assert "Did you mean" not in refusal(cnnreg, "--lr")


def test_commands_that_take_settings_name_the_setting(cnnreg: Cnnreg) -> None:
    assert refusal(cnnreg, "lr-find", "--image-size", "64").startswith(
        "Error: No such option '--image-size'. It is a setting of the recipe: --set image_size=64"
    )


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ("lr=0.1", "optimizer.learning_rate"),
        ("optimizer.lr=0.1", "optimizer.learning_rate"),
        ("optimiser.lr=0.1", "optimizer"),
        ("learning_rate=0.1", "optimizer.learning_rate"),
        ("batch=8", "batch_size"),
        ("BATCH-SIZE=8", "batch_size"),
        ("size=64", "image_size"),
        ("momentum=0.9", "optimizer.momentum"),
        ("optimizer.wd=0.1", "optimizer.weight_decay"),
        ("flip=true", "augmentation.flip"),
        ("warmup=3", "schedule.warmup_epochs"),
        ("epoch=3", "epochs"),
    ],
)
def test_settings_of_other_tools(cnnreg: Cnnreg, tiny: str, setting: str, key: str) -> None:
    assert f"Did you mean '{key}'" in refusal(cnnreg, "train", tiny, "--set", setting)


def test_a_part_of_a_name_lists_the_models_that_contain_it(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-many", "net10", "net9", "other", "internet")
    assert cnnreg("list", "net", "--names").out.splitlines() == ["internet", "net9", "net10"]
    assert cnnreg("list", "net9", "--names").out.splitlines() == ["net9"]
    assert cnnreg("list", "net*", "--names").out.splitlines() == ["net9", "net10"]
    assert cnnreg("list", "othr").out == "No model matches 'othr'. Did you mean 'other'?\n"


@pytest.fixture
def runs(trained: Path) -> Path:
    """A directory with a run, as ``cnnreg train`` makes it."""
    folder = trained.parent / "runs"
    folder.mkdir()
    shutil.move(trained, folder / "first")
    return folder


def test_a_directory_of_runs_names_the_newest(cnnreg: Cnnreg, runs: Path, colours: Path) -> None:
    for number in range(4):
        shutil.copytree(runs / "first", runs / f"copy{number}")
    for arguments in (["evaluate", runs], ["predict", runs, colours / "red" / "0.png"], ["train", "--resume", runs]):
        line = refusal(cnnreg, *arguments, code=1)
        assert f"{runs} is not a run directory, but it holds 5 runs. Name one of them; the newest: " in line
        assert line.count(str(runs / "")) == 4


def test_a_file_of_a_run_names_the_run(cnnreg: Cnnreg, runs: Path) -> None:
    line = refusal(cnnreg, "evaluate", runs / "first" / "best.weights.h5", code=1)
    assert f"is in one. Name {runs / 'first'}." in line


def test_a_mistyped_run_names_the_nearest(cnnreg: Cnnreg, runs: Path) -> None:
    assert "Did you mean 'first'?" in refusal(cnnreg, "evaluate", runs / "frist", code=1)


def test_the_name_of_a_run_alone_names_its_directory(
    cnnreg: Cnnreg, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs.parent)
    assert "Did you mean runs/first?" in refusal(cnnreg, "evaluate", "first", code=1)


def test_images_that_were_moved_are_named_with_data(cnnreg: Cnnreg, trained: Path, own_colours: Path) -> None:
    record = (trained / "run.json").read_text()
    text = record[: record.index(',\n  "sha256"')] + "\n}\n"
    given = text.index('"given": "')
    end = text.index('",', given)
    (trained / "run.json").write_text(f'{text[:given]}"given": "{own_colours.with_name("moved")}{text[end:]}')
    line = refusal(cnnreg, "evaluate", trained, code=1)
    assert f"are no longer at {own_colours.with_name('moved')}. Move them back; cnnreg evaluate and" in line
    assert "take their new place with --data." in line
    assert cnnreg("evaluate", trained, "--data", own_colours).code == 0


PRETRAINED = "cnn_registry.Pretrained('https://example.org/net-0123abcd.pth', dict, 'imagenet')"


@pytest.mark.parametrize(("name", "file"), [("weights.pth", "weights.pth"), ("imagenet", "net-0123abcd.pth")])
def test_a_missing_library_is_named_before_images_are_read(
    cnnreg: Cnnreg,
    plugins: FakePlugins,
    colours: Path,
    tmp_path: Path,
    name: str,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = plugins.declaration("net")
    source = declared.replace("'paper'", f"'weights': {{'imagenet': {PRETRAINED}}}, 'paper'")
    plugins.install("cnnreg-net", source=source, entries={"net": "cnnreg_net:net"})
    (tmp_path / "weights.pth").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cnn_registry.networks.weights.torch_file.find_spec", lambda name: None)
    line = refusal(cnnreg, "train", "net", "--data", colours, "--weights", name, code=1)
    assert f"Reading {file} needs torch, which is not installed. Install with: pip install torch" in line


def test_commands_to_copy_are_quoted(cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "my runs"
    ended = cnnreg(
        "train", tiny, "--data", colours, "--out", out, "--epochs", 1, "--set=image_size=16", *UNVARIED_OPTIONS
    )
    assert ended.code == 0
    assert "1 epoch," in ended.err
    [run] = out.iterdir()
    assert ended.out.splitlines()[-1] == f"next: cnnreg evaluate '{run}'   or   cnnreg predict '{run}' IMAGE..."
