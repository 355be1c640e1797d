"""The command line, in this process: what it prints, how it ends, and what it says of mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cnn_registry.cli.app import cnnreg as group
from cnn_registry.cli.commands import COMMANDS
from cnn_registry.registry.current import use_policy
from tests.conftest import UNVARIED_OPTIONS

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


def one_line(text: str) -> str:
    """What was printed, shown to be one line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text


def test_every_command_is_listed() -> None:
    modules = (Path(__file__).parents[2] / "src" / "cnn_registry" / "cli").glob("*.py")
    declared = {
        module.stem.replace("_", "-") for module in modules if "\ndef command(" in module.read_text(encoding="utf-8")
    }
    assert declared == set(COMMANDS)


def test_help_names_every_command(cnnreg: Cnnreg) -> None:
    ended = cnnreg("--help")
    assert ended.code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in ended.out


@pytest.mark.parametrize(
    "command", ["list", "info", "train", "evaluate", "predict", "runs", "datasets", "recipes", "cache", "doctor"]
)
def test_every_command_has_help_and_json(cnnreg: Cnnreg, command: str) -> None:
    ended = cnnreg(command, "--help")
    assert ended.code == 0
    assert "--json" in ended.out
    assert "--verbose" in ended.out


def test_list(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-many", "net10", "net9", "other")
    ended = cnnreg("list", "net*")
    heading, *rows = ended.out.splitlines()
    assert heading.split() == ["name", "family", "year", "parameters", "MACs", "input", "plugin", "summary"]
    assert [row.split()[0] for row in rows] == ["net9", "net10"]
    assert "224x224x3" in rows[0]
    assert "cnnreg-many 1.0" in rows[0]
    assert ended.code == 0


def test_list_shows_what_is_broken_or_ambiguous(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-good", "good", "same")
    plugins.install("cnnreg-twin", "same")
    plugins.install("cnnreg-bad", entries={"bad": "cnnreg_bad:bad"}, source="import nothing_of_that_name")
    ended = cnnreg("list")
    assert ended.code == 0
    assert "\ngood " in ended.out
    assert "broken: bad (cnnreg-bad): ModuleNotFoundError" in ended.out
    assert "ambiguous: same: write " in ended.out
    assert "cnnreg-twin:same" in ended.out
    assert ended.err == ""
    assert "nothing_of_that_name" in cnnreg("list", "-v").err
    status = {row["name"]: row["status"] for row in json.loads(cnnreg("list", "--json").out)}
    assert status == {"bad": "broken", "good": "ok", "same": "ambiguous"}


def test_list_without_a_match(cnnreg: Cnnreg, tiny: str) -> None:
    assert "No model matches 'vgg*'" in one_line(cnnreg("list", "vgg*").out)


def test_no_plugins_before_or_after_the_command(cnnreg: Cnnreg, tiny: str) -> None:
    for arguments in (("--no-plugins", "list"), ("list", "--no-plugins")):
        assert "No model is installed" in cnnreg(*arguments).out
        use_policy(None)


def test_info(cnnreg: Cnnreg, tiny: str) -> None:
    ended = cnnreg("info", "tiny")
    assert ended.code == 0
    for fact in (
        "A tiny network (Doe, 2020) https://example.org",
        "9,224 trainable",
        "filters=8",
        "16x16x3",
        "smallest",
    ):
        assert fact in ended.out
    described = json.loads(cnnreg("info", "smallest", "--json").out)
    assert (described["name"], described["total_params"]) == ("tiny", 9224)
    assert described["provider"] == {"object": "cnnreg_tiny:tiny", "distribution": "cnnreg-tiny", "version": "1.0"}


def test_info_counts_in_the_graph(cnnreg: Cnnreg, tiny: str) -> None:
    ended = cnnreg("info", "tiny", "--graph", "--image-size", 10)
    assert ended.code == 0
    assert "at 10x10" in ended.out
    measured = json.loads(cnnreg("info", "tiny", "--graph", "--image-size", 10, "--json").out)["graph"]
    assert measured["macs"] == 8 * 8 * 3 * 3 * 3 * 8 + 8 * 1000
    assert measured["input_shape"] == [10, 10, 3]
    assert cnnreg("info", "tiny", "--image-size", 10).code == 2


def test_info_of_a_broken_plugin_shows_the_traceback(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-bad", entries={"bad": "cnnreg_bad:bad"}, source="import nothing_of_that_name")
    ended = cnnreg("info", "bad")
    assert ended.code == 1
    assert "Traceback" in ended.out
    assert "nothing_of_that_name" in ended.out
    assert "Traceback" in json.loads(cnnreg("info", "bad", "--json").out)["traceback"]


def test_a_name_that_means_nothing(cnnreg: Cnnreg, tiny: str) -> None:
    ended = cnnreg("info", "tinny")
    assert ended.code == 2
    message = one_line(ended.err)
    assert "Did you mean 'tiny'?" in message
    assert "cnnreg list" in message


def test_verbose_shows_the_traceback_before_and_after_the_command(cnnreg: Cnnreg, tiny: str) -> None:
    for arguments in (("-v", "info", "tinny"), ("info", "tinny", "-v")):
        ended = cnnreg(*arguments)
        assert ended.code == 2
        assert "Traceback" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lst"], "There is no command 'lst'. Did you mean 'list'?"),
        (["train"], "Name a model; see: cnnreg list."),
        (["train", "tiny", "--dta", "x"], "No such option"),
        (["train", "tiny", "--on-bad-image", "ignore"], "'ignore' is not one of 'skip', 'error'"),
        (["train", "tiny", "--set", "epochs"], "key=value"),
        (["train", "tiny", "--set", "epoch=3"], "Did you mean 'epochs'"),
        (["train", "tiny", "--dataset", "digitz"], "Did you mean 'digits'"),
        (["train", "tiny", "--recipe", "fast"], "There is no recipe 'fast'"),
        (["predict", "run"], "Missing argument 'SOURCE...'"),
        (["recipes", "fast"], "There is no recipe 'fast'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(cnnreg: Cnnreg, tiny: str, arguments: list[str], words: str) -> None:
    ended = cnnreg(*arguments)
    assert ended.code == 2
    assert words in one_line(ended.err)
    assert ended.out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "tiny", "--data", "nowhere"], "There is no folder nowhere"),
        (["evaluate", "nowhere"], "nowhere is not a run directory"),
        (["predict", "nowhere", "a.jpg"], "nowhere is not a run directory"),
    ],
)
def test_failed_work_is_one_line_and_exit_code_1(cnnreg: Cnnreg, tiny: str, arguments: list[str], words: str) -> None:
    ended = cnnreg(*arguments)
    assert ended.code == 1
    assert words in one_line(ended.err)


def test_a_fault_of_ours_is_one_line_too(cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pattern: str | None) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("cnn_registry.cli.list.listed_models", fail)
    ended = cnnreg("list")
    assert ended.code == 1
    assert one_line(ended.err).startswith("Error: unexpected RuntimeError: two lines")


def test_ctrl_c_ends_with_130(cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(pattern: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cnn_registry.cli.list.listed_models", interrupt)
    ended = cnnreg("list")
    assert (ended.code, ended.err.strip()) == (130, "Interrupted.")


@pytest.mark.filterwarnings("default")
def test_a_deprecated_model_warns_in_one_line(
    cnnreg: Cnnreg, plugins: FakePlugins, colours: Path, tmp_path: Path
) -> None:
    source = plugins.declaration("old", deprecated="new")
    plugins.install("cnnreg-old", source=source, entries={"old": "cnnreg_old:old"})
    ended = cnnreg("train", "old", "--data", tmp_path / "nowhere")
    assert ended.err.splitlines()[0] == "Warning: The model 'old' is deprecated; use 'new'."


def test_datasets(cnnreg: Cnnreg, tiny: str) -> None:
    ended = cnnreg("datasets")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()[1:3]] == ["digits", "oxflower17"]
    described = {row["name"]: row for row in json.loads(cnnreg("datasets", "--json").out)}
    assert described["digits"]["embedded"] is True
    assert described["oxflower17"]["num_images"] == 1360


def test_recipes(cnnreg: Cnnreg) -> None:
    assert {line.split()[0] for line in cnnreg("recipes").out.splitlines()[1:]} >= {"article", "default"}
    shown = cnnreg("recipes", "article").out.splitlines()
    assert "optimizer.learning_rate = 0.001" in shown
    assert "early_stopping.patience = 30" in shown
    [recipe] = json.loads(cnnreg("recipes", "article", "--json").out)
    assert recipe["batch_size"] == 64


def test_train_evaluate_and_predict(cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    settings = [
        *UNVARIED_OPTIONS,
        *(f"--set={setting}" for setting in ("epochs=2", "batch_size=8", "optimizer.learning_rate=0.1")),
    ]
    trained = cnnreg("train", "tiny", "--data", colours, "--out", out, "--json", *settings)
    assert trained.code == 0
    assert trained.err.count("  val_loss ") == 2  # a slow machine also writes lines within an epoch
    result = json.loads(trained.out)
    run = result["run"]
    assert Path(run).parent == out

    evaluated = cnnreg("evaluate", run)
    assert evaluated.code == 0
    assert "val images of the run: accuracy" in evaluated.out
    report = json.loads(cnnreg("evaluate", run, "--json").out)
    assert report["accuracy"] == result["result"]["report"]["accuracy"]

    picture = colours / "red" / "0.png"
    table = cnnreg("predict", run, picture, picture, "--top", 2).out.splitlines()
    assert table[0].split() == ["image", "class", "probability", "2."]
    assert len(table) == 3
    [prediction] = json.loads(cnnreg("predict", run, picture, "--json").out)
    assert prediction["image"] == str(picture)
    assert prediction["classes"][0]["class"] == "red"


def test_train_tells_where_the_run_is_and_what_comes_next(
    cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path
) -> None:
    ended = cnnreg("train", "tiny", "--data", colours, "--out", tmp_path, "--epochs", 1, *UNVARIED_OPTIONS)
    assert ended.code == 0
    first, where, report, then = ended.out.splitlines()
    assert first.startswith("finished: validation accuracy ")
    run = where.removeprefix("run directory: ")
    assert (Path(run) / "run.json").is_file()
    assert report == f"report: {run}/report.html"
    assert f"cnnreg evaluate {run}" in then


def test_doctor(cnnreg: Cnnreg, tiny: str, own_cache: Path) -> None:
    facts = json.loads(cnnreg("doctor", "--json").out)
    assert facts["machine"]["onednn"] in ("on", "off")
    assert facts["machine"]["threads"]
    assert facts["cache"] == {"path": str(own_cache), "bytes": 0}
    assert {plugin["name"]: plugin["status"] for plugin in facts["plugins"]} == {
        "tiny": "ok",
        "digits": "ok",
        "oxflower17": "ok",
    }
    assert "keras: " in cnnreg("doctor").out


def test_doctor_ends_with_1_where_a_plugin_is_broken(cnnreg: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-bad", entries={"bad": "cnnreg_bad:bad"}, source="import nothing_of_that_name")
    ended = cnnreg("doctor")
    assert ended.code == 1
    assert "bad (cnnreg-bad 1.0): broken: ModuleNotFoundError" in ended.out


@pytest.mark.parametrize(
    ("words", "completed"),
    [("info ti", ["tiny"]), ("train --dataset dig", ["digits"]), ("recipes def", ["default"]), ("tra", ["train"])],
)
def test_the_shell_completes_names(tiny: str, words: str, completed: list[str]) -> None:
    from click.shell_completion import ShellComplete

    *arguments, incomplete = words.split(" ")
    completion = ShellComplete(group, {}, "cnnreg", "_CNNREG_COMPLETE")
    assert [item.value for item in completion.get_completions(arguments, incomplete)] == completed
    assert isinstance(group, click.Group)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--weights", "imagenet"), "two has no weights 'imagenet'"),
        (("--weights", "nowhere.pth"), "There is no weights file nowhere.pth."),
        (("--freeze", "stage9"), "two has no stage 'stage9'"),
    ],
)
def test_weights_and_stages_that_are_not_there_are_refused(
    cnnreg: Cnnreg, two: str, colours: Path, tmp_path: Path, arguments: tuple[str, str], words: str
) -> None:
    ended = cnnreg("train", two, "--data", colours, "--out", tmp_path / "runs", "--set", "image_size=8", *arguments)
    assert ended.code == 2
    assert words in one_line(ended.err.splitlines(keepends=True)[-1])
    assert not (tmp_path / "runs").exists()
