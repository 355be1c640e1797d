"""``cnnreg check``: what is chosen, what is printed, and how it ends."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Cnnreg, FakePlugins


@pytest.fixture
def check(cnnreg: Cnnreg) -> Cnnreg:
    return functools.partial(cnnreg, "check")


def test_a_table_and_below_it_each_failure_in_full(check: Cnnreg, tiny: str) -> None:
    code, out, err = check("tiny", "--only", "spec", "--only", "macs", "--only", "names")
    heading, *rows, failure, counts = out.splitlines()
    assert code == 1
    assert heading.split() == ["model", "check", "outcome", "seconds", "what"]
    assert [row.split()[:3] for row in rows] == [
        ["tiny", "spec", "passed"],
        ["tiny", "macs", "skipped"],
        ["tiny", "names", "failed"],
    ]
    assert failure.startswith("tiny: names failed: expected the same names of layers with weights in two builds; got ")
    assert counts == "1 passed, 1 failed, 1 skipped"
    assert "Checking tiny" in err


def test_checks_that_one_cause_keeps_from_running_have_one_row(check: Cnnreg, plugins: FakePlugins) -> None:
    source = plugins.declaration("empty") + "    return None\n"
    plugins.install(
        "cnnreg-empty",
        source=source.replace("    import keras", "    return None"),
        entries={"empty": "cnnreg_empty:empty"},
    )
    code, out, _ = check(
        "empty", *(word for name in ("builds", "parameters", "macs", "seed") for word in ("--only", name))
    )
    _, *rows, failure, counts = out.splitlines()
    assert code == 1
    assert " ".join(rows[1].split()).startswith("empty parameters to seed (3) skipped 0.0 it does not build, as the")
    assert len(rows) == 2
    assert failure.startswith("empty: builds failed: expected that it builds in its default form; got ")
    assert counts == "0 passed, 1 failed, 3 skipped"


def test_json(check: Cnnreg, tiny: str) -> None:
    code, out, _ = check("smallest", "--only", "docstring", "--json")
    [result] = json.loads(out)
    assert code == 0
    assert (result["model"], result["check"], result["outcome"]) == ("tiny", "docstring", "passed")
    assert result["seconds"] >= 0


@pytest.mark.parametrize("choice", [["--all"], ["--plugin", "Cnnreg_Tiny"], ["tiny", "--all"]])
def test_all_models_and_those_of_a_plugin(check: Cnnreg, tiny: str, choice: list[str]) -> None:
    code, out, _ = check(*choice, "--only", "spec")
    assert code == 0
    assert out.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"


def test_a_broken_plugin_and_an_ambiguous_name_among_all_are_failures(check: Cnnreg, plugins: FakePlugins) -> None:
    plugins.install("cnnreg-bad", entries={"bad": "cnnreg_bad:bad"}, source="import nothing_of_that_name")
    plugins.install("cnnreg-one", "same")
    plugins.install("cnnreg-two", "same")
    code, out, _ = check("--all", "--only", "spec")
    assert code == 1
    assert "bad: usable failed: its plugin is broken: ModuleNotFoundError" in out
    assert "same: usable failed: several plugins provide it" in out
    assert check("cnnreg-one:same", "--only", "spec")[0] == 0


def test_a_dataset(check: Cnnreg) -> None:
    code, out, _ = check("--dataset", "digits")
    assert code == 0
    assert "digits  splits        skipped" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name a model, or give --all, --plugin or --dataset."),
        (["tinny"], "Did you mean 'tiny'?"),
        (["tiny", "--only", "gradient"], "Did you mean 'gradients'"),
        (["--plugin", "cnnreg-other"], "There are models of: cnnreg-tiny."),
        (["--dataset", "digitz"], "Did you mean 'digits'?"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(check: Cnnreg, tiny: str, arguments: list[str], words: str) -> None:
    code, out, err = check(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert words in err
