"""Bad and hostile input at the command line: one line, exit code 1 or 2, no code run, and nothing written elsewhere."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import UNVARIED_OPTIONS, Cnnreg, FakePlugins

ESCAPES = "\x1b]0;owned\x07\x1b[2J"
"""Sets the terminal's title, and clears it."""

HOSTILE_NAMES = [f"{ESCAPES}a", "[red]b[/red] <script>alert(1)</script>", "$c$\n\r\u202egnp.exe"]

Change = Callable[[dict[str, Any]], None]
Facts = dict[str, tuple[int, bytes]]


def snapshot(root: Path) -> Facts:
    """Every file below ``root``, with its time and content; plugins' compiled modules left out."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.fixture
def untouched(tmp_path: Path, own_cache: Path) -> Iterator[Callable[[], None]]:
    """Call it when the input is made: at the end, everything but the cache is as it was then."""
    before: list[Facts] = []
    yield lambda: before.append(snapshot(tmp_path))
    after = {path: facts for path, facts in snapshot(tmp_path).items() if not path.startswith(str(own_cache))}
    assert before
    assert after == {path: facts for path, facts in before[0].items() if not path.startswith(str(own_cache))}


def refusal(cnnreg: Cnnreg, *arguments: object) -> str:
    """The one line with which a command ends."""
    ended = cnnreg(*arguments)
    assert ended.code in (1, 2)
    assert ended.out == ""
    *notes, line = ended.err.splitlines()
    assert line.startswith("Error: ")
    assert "Traceback" not in ended.err
    assert "unexpected" not in line
    assert len(line) < 2000
    assert "".join([*notes, line]).isprintable()
    return line


def rewrite(run: Path, change: Change) -> None:
    """Change a record as someone else could, who takes its digest out."""
    record = json.loads((run / "run.json").read_text())
    del record["sha256"]
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def in_spec(**fields: Any) -> Change:
    return lambda record: record["model"]["spec"].update(fields)


RECORDS: dict[str, Change] = {
    "no name": lambda record: record["model"]["spec"].pop("name"),
    "a name that is a number": in_spec(name=3),
    "a path as name": in_spec(name="../../x"),
    "an escape sequence as name": in_spec(name=f"{ESCAPES}tiny"),
    "a path as distribution": in_spec(provider={"distribution": "../../x", "version": "1.0"}),
    "a name of a million letters": in_spec(name="a" * 10**6),
    "a distribution of a million letters": in_spec(provider={"distribution": "a" * 10**6, "version": "1.0"}),
    "a module as distribution": in_spec(provider={"distribution": "os", "version": "1.0"}),
    "no version": in_spec(provider={"distribution": "cnnreg-tiny"}),
    "a list as provider": in_spec(provider=["cnnreg-tiny"]),
    "no provider": lambda record: record["model"]["spec"].pop("provider"),
    "no auxiliary heads": lambda record: record["model"]["spec"].pop("aux_heads"),
    "an unknown option": lambda record: record["model"]["options"].update({"weights": "/etc/passwd"}),
    "other weights as an option": lambda record: record["model"]["options"].update({"weights": "keras:imagenet"}),
    "an argument as an option": lambda record: record["model"]["options"].update({"num_classes": 3}),
    "images that are not square": lambda record: record["model"].update(input_shape=[16, 8, 3]),
    "an option of another type": lambda record: record["model"]["options"].update({"filters": "__import__('os')"}),
    "more classes than names": lambda record: record["model"].update(num_classes=10**9),
    "other classes than its weights": lambda record: (
        record["model"].update(num_classes=4),
        record["data"]["class_names"].append("d"),
    )[0],
    "a shape of nothing": lambda record: record["model"].update(input_shape=[0, 16, 3]),
    "a shape below the model's": lambda record: record["model"].update(input_shape=[1, 1, 3]),
    "another key": lambda record: record.update({f"{ESCAPES}key": 1}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_hostile_record_is_refused(
    cnnreg: Cnnreg, trained: Path, colours: Path, untouched: Callable[[], None], name: str
) -> None:
    rewrite(trained, RECORDS[name])
    untouched()
    refusal(cnnreg, "predict", trained, colours / "red" / "0.png")
    refusal(cnnreg, "evaluate", trained)


DATA: dict[str, Change] = {
    "a path as dataset": lambda record: record["data"].update(dataset="../../x", given=None),
    "an escape sequence as dataset": lambda record: record["data"].update(dataset=ESCAPES),
    "a device as data": lambda record: record["data"].update(given="/dev/zero"),
    "a path with a zero byte": lambda record: record["data"].update(given="\0"),
    "images that are not there": lambda record: record["split"].update(val=[f"../{ESCAPES}.png"]),
    "other images": lambda record: record["data"].update(digest="0" * 64, source=ESCAPES),
}


@pytest.mark.parametrize("name", DATA)
def test_a_record_of_hostile_data_is_refused(
    cnnreg: Cnnreg, trained: Path, untouched: Callable[[], None], name: str
) -> None:
    rewrite(trained, DATA[name])
    untouched()
    refusal(cnnreg, "evaluate", trained)


EVIL = "from pathlib import Path\nPath({victim!r}).touch()\n"


def test_a_run_cannot_make_a_module_or_a_plugin_load(
    cnnreg: Cnnreg, trained: Path, plugins: FakePlugins, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, picture = tmp_path / "victim", colours / "red" / "0.png"
    source = EVIL.format(victim=str(victim)) + plugins.declaration("evil")
    plugins.install("cnnreg-evil", source=source, entries={"evil": "cnnreg_evil:evil"})
    provider = {"distribution": "cnnreg-evil", "object": "cnnreg_evil:evil", "version": "1.0"}
    rewrite(trained, in_spec(name="evil", provider=provider))
    monkeypatch.setenv("CNNREG_PLUGINS", "cnnreg-tiny")
    refusal(cnnreg, "predict", trained, picture)
    monkeypatch.setenv("CNNREG_PLUGINS", "")
    monkeypatch.setenv("CNNREG_DISABLE_PLUGINS", "cnnreg-evil")
    refusal(cnnreg, "predict", trained, picture)
    rewrite_again = json.loads((trained / "run.json").read_text())
    rewrite_again["model"]["spec"] |= {"name": "tiny", "provider": provider | {"distribution": "cnnreg-tiny"}}
    (trained / "run.json").write_text(json.dumps(rewrite_again))
    assert cnnreg("predict", trained, picture).code == 0  # the model by its name; the object is not looked at
    assert "may not provide plugins here" in refusal(cnnreg, "--no-plugins", "predict", trained, picture)
    assert not victim.exists()


class Touch:
    """An object whose pickle makes a file when it is read."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


def test_no_code_in_a_run_directory_is_run(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path, untouched: Callable[[], None]
) -> None:
    hostile = pickle.dumps(Touch(tmp_path / "victim"))
    for name in ("best.weights.h5", "last.weights.h5", "model.pkl", "model.keras", "oxflower17.pkl"):
        (trained / name).write_bytes(hostile)
    for name in ("keras.py", "cnnreg_tiny.py", "sitecustomize.py", "conftest.py"):
        (trained / name).write_text(EVIL.format(victim=str(tmp_path / "victim")))
    untouched()
    for weights in ("best", "last"):
        line = refusal(cnnreg, "predict", trained, colours / "red" / "0.png", "--weights", weights)
        assert f"{weights}.weights.h5 does not fit tiny" in line
    assert not (tmp_path / "victim").exists()


def test_weights_that_are_a_link_are_missing(cnnreg: Cnnreg, trained: Path, colours: Path) -> None:
    (trained / "best.weights.h5").unlink()
    (trained / "best.weights.h5").symlink_to("/dev/zero")
    os.mkfifo(trained / "pipe")
    (trained / "last.weights.h5").unlink()
    (trained / "last.weights.h5").symlink_to("pipe")
    for weights in ("best", "last"):
        line = refusal(cnnreg, "predict", trained, colours / "red" / "0.png", "--weights", weights)
        assert f"has no {weights}.weights.h5" in line


def test_a_record_without_an_end_is_not_read(cnnreg: Cnnreg, trained: Path) -> None:
    with (trained / "run.json").open("wb") as file:
        file.truncate(2**40)
    assert "has more than 268,435,456 bytes" in refusal(cnnreg, "evaluate", trained)


@pytest.mark.parametrize("terminal", [False, True])
def test_names_are_printed_safely(
    cnnreg: Cnnreg, trained: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    rewrite(trained, lambda record: record["data"].update(class_names=HOSTILE_NAMES))
    picture = tmp_path / f"{ESCAPES}.png"
    picture.write_bytes((colours / "red" / "0.png").read_bytes())
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setenv("COLUMNS", "200")
    ended = cnnreg("predict", trained, picture)
    assert ended.code == 0
    assert r"\x1b]0;owned\x07\x1b[2Ja" in ended.out
    assert "[red]b[/red] <script>alert(1)</script>" in ended.out
    assert not set(ended.out + ended.err) & {"\x07", "\r", "\u202e"}
    assert "\x1b]" not in ended.out
    assert "\x1b[2J" not in ended.out
    shown = cnnreg("predict", trained, picture, "--json").out
    assert shown.isascii()
    assert {row["class"] for row in json.loads(shown)[0]["classes"]} == set(HOSTILE_NAMES)


def test_names_in_a_folder_of_pictures_go_through_a_whole_training(
    cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path
) -> None:
    data = tmp_path / f"data{ESCAPES}"
    for name, colour in zip(["$a$\\$", f"{ESCAPES}b", "日本\udcff"], ("red", "green", "blue"), strict=True):
        (data / name).mkdir(parents=True)
        for file in (colours / colour).iterdir():
            (data / name / f"{file.stem}\udcff\n.png").write_bytes(file.read_bytes())
        (data / name / "\x1b[31m.jpg").write_bytes(b"")
    settings = [*UNVARIED_OPTIONS, "--set=epochs=1", "--set=batch_size=8", "--set=image_size=16"]
    ended = cnnreg("train", tiny, "--data", data, "--out", tmp_path / "runs", *settings)
    assert ended.code == 0
    assert "".join([*ended.out.splitlines(), *ended.err.splitlines()]).isprintable()
    [run] = (tmp_path / "runs").iterdir()
    again = cnnreg("evaluate", run)
    assert again.code == 0
    assert r"日本\udcff" in again.out


def data_of(content: bytes) -> Callable[[Path], list[object]]:
    def make(root: Path) -> list[object]:
        for name in "ab":
            (root / "bad" / name).mkdir(parents=True)
            for number in range(3):
                (root / "bad" / name / f"{number}.png").write_bytes(content)
        return ["--data", root / "bad"]

    return make


def link_to_itself(root: Path) -> list[object]:
    (root / "loop").symlink_to("loop")
    return ["--data", root / "loop"]


def recipe_of(content: bytes) -> Callable[[Path], list[object]]:
    def make(root: Path) -> list[object]:
        (root / "bad.toml").write_bytes(content)
        return ["--recipe", root / "bad.toml"]

    return make


def weights_of(name: str, content: bytes) -> Callable[[Path], list[object]]:
    def make(root: Path) -> list[object]:
        (root / name).write_bytes(content)
        return ["--weights", root / name]

    return make


TRAININGS: dict[str, Callable[[Path], list[object]]] = {
    "images of zero bytes": data_of(b""),
    "images that are text": data_of(b"<script>"),
    "a link that leads to itself": link_to_itself,
    "a device": lambda root: ["--data", "/dev/zero"],
    "an archive of the wrong kind": lambda root: [*weights_of("x.zip", b"PK\3\4")(root)[1:], "--dataset", "oxflower17"],
    "a recipe that is not text": recipe_of(b"\xff\xfe\x00"),
    "a recipe with an escape sequence": recipe_of(b'epochs = 1\nsummary = "\\u001b[2J"\n"\\u001b[2J" = 3'),
    "a recipe that nests": recipe_of(b"epochs = 1\nmodel.filters = " + b"[" * 5000),
    "a rate that is not a number": lambda root: ["--set", "optimizer.learning_rate=nan"],
    "a negative number": lambda root: ["--set", "epochs=-1"],
    "a number of thousands of digits": lambda root: ["--set", f"epochs={'9' * 5000}"],
    "an option that is not a number": lambda root: ["--set", "model.filters=nan"],
    "an unknown key": lambda root: ["--set", f"{ESCAPES}=1"],
    "weights that are a pickle": weights_of("x.weights.h5", pickle.dumps([1])),
    "weights of nothing": weights_of("x.weights.h5", b""),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_on_bad_input_is_refused_before_anything_is_written(
    cnnreg: Cnnreg, tiny: str, colours: Path, tmp_path: Path, untouched: Callable[[], None], name: str
) -> None:
    arguments = TRAININGS[name](tmp_path)
    data = [] if "--data" in arguments or "--dataset" in arguments else ["--data", colours]
    if "--dataset" in arguments:
        arguments.insert(0, "--data")
    untouched()
    refusal(cnnreg, "train", tiny, "--out", tmp_path / "runs", "--set=image_size=16", *data, *arguments)
    assert not (tmp_path / "runs").exists()


def test_traceback_of_hostile_input_is_escaped_too(cnnreg: Cnnreg, trained: Path) -> None:
    rewrite(trained, RECORDS["another key"])
    ended = cnnreg("-v", "evaluate", trained)
    assert "Traceback" in ended.err
    assert "".join(ended.err.splitlines()).isprintable()


@pytest.mark.parametrize("command", [["evaluate"], ["predict", "x"], ["report"], ["recipes"]])
def test_a_name_that_no_file_system_takes_is_refused(
    cnnreg: Cnnreg, untouched: Callable[[], None], command: list[str]
) -> None:
    untouched()
    name, *others = command
    assert len(refusal(cnnreg, name, "a" * 300, *others)) < 500
