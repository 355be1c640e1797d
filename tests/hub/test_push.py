"""Runs in repositories of a hub: sent, described, fetched and used again."""

from __future__ import annotations

import importlib
import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from cnn_registry import create_model, evaluate, load_model, load_run, predict, push, train
from cnn_registry.errors import HubError, MissingPackageError
from cnn_registry.hub.card import without_library
from cnn_registry.networks.weights.keras_file import stored_class_names
from cnn_registry.networks.weights.safetensors_file import to_keras_file
from tests.conftest import Cnnreg
from tests.hub.conftest import NAME
from tests.hub.fake import TOKEN, Hub, Repository


def files_of(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    return hub.repositories["user/colours"].head(branch)


@pytest.mark.slow
def test_a_run_is_pushed_and_used_elsewhere(
    hub: Hub, trained: Path, colours: Path, cnnreg: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next(colours.rglob("*.png"))
    expected = predict(trained, picture)
    ended = cnnreg("push", trained, NAME, "--license", "mit", "--json")
    assert ended.code == 0, ended.err
    pushed = json.loads(ended.out)
    files = files_of(hub)
    assert {"README.md", "run.json", "model.safetensors", "labels.txt", "recipe.toml", "config.json"} <= files.keys()
    assert pushed["files"] == {name: len(data) for name, data in files.items() if name != ".gitattributes"}
    assert pushed["address"] == f"{NAME}@{hub.repositories['user/colours'].branches['main']}"

    # Elsewhere: from the hub alone, and without the token.
    monkeypatch.delenv("HF_TOKEN")
    ended = cnnreg("predict", NAME, picture, "--json")
    assert ended.code == 0, ended.err
    assert f"Downloading {NAME} at commit {pushed['commit'][:12]} (5 files," in ended.err
    assert json.loads(ended.out)[0]["classes"][0]["class"] == expected[0][0]
    run = load_run(Path(NAME))  # a Path has lost a slash
    assert run.class_names == load_run(trained).class_names
    assert [item[1] for item in predict(run, picture)] == pytest.approx([item[1] for item in expected], abs=1e-6)
    for ours, theirs in zip(load_model(NAME).get_weights(), load_run(trained).model().get_weights(), strict=True):
        assert np.array_equal(ours, theirs)
    again = evaluate(f"{NAME}@main", data=colours)
    assert again.accuracy == evaluate(trained, data=colours).accuracy
    weights = create_model("tiny", num_classes=len(run.class_names), weights=NAME).get_weights()
    assert np.array_equal(weights[0], run.model().get_weights()[0])
    assert sum(request.startswith("GET /user/colours/resolve") for request in hub.requests) == 5

    # Training from it records the commit.
    more = train("tiny", data=colours, settings={"fine_tuning.weights": NAME, "epochs": 1}, out=tmp_path / "runs")
    assert more.record.recipe.fine_tuning.weights == pushed["address"]

    # Nothing is written beside it in the cache, and it has no checkpoints.
    for words, message in [
        (("export", NAME, "--format", "keras"), "name the folder to write with -o"),
        (("report", NAME), "name the file to write with -o"),
        (("train", "--resume", NAME), "has no checkpoints to resume"),
        (("evaluate", NAME, "--weights", "last", "--data", colours), "has only the best weights"),
    ]:
        ended = cnnreg(*words)
        assert ended.code in (1, 2)
        assert message in ended.err

    # Without a connection, what was fetched is used, and said so; a commit needs none.
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ended = cnnreg("predict", NAME, picture)
    assert ended.code == 0
    assert f"The hub cannot be reached; {NAME} is used as it was fetched before, at commit {pushed['commit']:.12}" in (
        ended.err
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_run(pushed["address"]).class_names == run.class_names
    assert "cannot be reached" not in cnnreg("predict", pushed["address"], picture).err
    with pytest.raises(HubError, match="was not fetched before, and HF_HUB_OFFLINE is set"):
        load_run("hf://user/other")


def test_the_card_says_what_the_run_is(published: Repository, trained: Path, colours: Path, tmp_path: Path) -> None:
    files = published.head()
    card = files["README.md"].decode()
    run = load_run(trained)
    report = json.loads((trained / "report.json").read_text())
    front = importlib.import_module("huggingface_hub").ModelCard(card).data.to_dict()
    assert (front["library_name"], front["license"]) == ("cnn-registry", "mit")
    assert front["pipeline_tag"] == "image-classification"
    assert {"keras", "tiny", "image-classification"} <= set(front["tags"])
    [result] = front["model-index"][0]["results"]
    metrics = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert metrics["accuracy"] == pytest.approx(report["accuracy"], abs=1e-4)
    accuracy = report["measures"]["accuracy"]
    assert f"| Accuracy | {accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} |" in card
    assert "| AUC | " in card
    for words in ("## Data", "## Limits", "## Licence", f"cnnreg predict {NAME}", "same source as the training"):
        assert words in card
    assert all(f"`{name}`" in card for name in run.class_names)

    # What is published does not say where it was trained.
    everything = b"".join(data for name, data in files.items() if not name.endswith((".png", ".safetensors")))
    for told in (str(colours.parent), str(tmp_path), run.record.process.host if run.record.process else ""):
        assert not told or told.encode() not in everything

    # The code of the card predicts with Keras alone what the run predicts.
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    [code] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    picture = next(colours.rglob("*.png"))
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, redirect_stdout(out):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["predict.py", str(picture)])
        exec(compile(code, "predict.py", "exec"), {})
    expected = "".join(f"{p:.4f} {name}\n" for name, p in predict(run, picture, top=3))
    assert out.getvalue() == expected


@pytest.mark.parametrize("pixels", ["unit", "signed", "imagenet", "caffe"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_card_scales_pixels_as_the_library(pixels: str, channels: int) -> None:
    from cnn_registry.data.form import Form
    from cnn_registry.data.pipeline.batches import scale

    code = without_library(pixels, Form(4, 4, channels, "squash", 1.0), several=False)  # type: ignore[arg-type]
    [line] = [line for line in code.splitlines() if line.startswith("x = ") and "picture" not in line]
    images = np.random.default_rng(0).integers(0, 256, (4, 4, channels)).astype(np.float32)
    names = {"x": images, "np": np}
    exec(line, names)
    assert np.allclose(names["x"], scale(images, pixels), atol=1e-5)  # type: ignore[arg-type]


@pytest.mark.slow
def test_what_is_there_is_shown_and_kept(hub: Hub, published: Repository, trained: Path, cnnreg: Cnnreg) -> None:
    first = f"{NAME}@{published.branches['main']}"
    (trained / "curves.png").unlink()
    ended = cnnreg("push", trained, NAME, "--json")
    second = json.loads(ended.out)
    assert f"Replacing in {NAME}: README.md, cnnreg.json" in ended.err
    assert f"Removing from {NAME}, as this run does not have them: curves.png" in ended.err
    assert second["removed"] == ["curves.png"]
    assert "curves.png" not in files_of(hub)

    # A card that somebody has changed, and somebody's own file.
    repository = published
    theirs = files_of(hub) | {"README.md": b"my own words", "notes.txt": b"mine"}
    head = repository.commit(theirs)
    ended = cnnreg("push", trained, NAME)
    assert ended.code == 2
    assert "'README.md', 'notes.txt'" in ended.err
    assert "Nothing was sent" in ended.err
    assert repository.branches["main"] == head
    assert cnnreg("push", trained, NAME, "--force").code == 0
    assert files_of(hub)["notes.txt"] == b"mine"
    assert files_of(hub)["README.md"] != b"my own words"
    assert load_run(first).class_names == load_run(NAME).class_names

    # A new branch begins as main, with what is there.
    assert cnnreg("push", trained, NAME, "--revision", "second").code == 2
    assert "second" not in repository.branches
    assert cnnreg("push", trained, NAME, "--revision", "second", "--force").code == 0
    assert "run.json" in files_of(hub, branch="second")
    ended = cnnreg("push", trained, NAME, "--private", "--force")
    assert (ended.code, "is public. Nothing was sent" in ended.err) == (2, True)
    assert cnnreg("push", trained, "hf://user/mine", "--private").code == 0
    assert hub.repositories["user/mine"].private


@pytest.mark.parametrize(
    ("to", "arguments", "message"),
    [
        ("user/colours", (), "A run is pushed to hf://user/name"),
        ("hf://colours", (), "A repository is named hf://user/name or hf://user/name@revision"),
        ("hf://user/../x", (), "A repository is named hf://user/name"),
        (NAME + "@main", ("--revision", "other"), "names another revision"),
        (NAME, ("--revision", "0" * 40), "is a commit, which does not change"),
    ],
)
def test_mistyped(cnnreg: Cnnreg, tmp_path: Path, to: str, arguments: tuple[str, ...], message: str) -> None:
    ended = cnnreg("push", tmp_path, to, *arguments)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert message in ended.err


def everything_below(path: Path) -> Iterator[bytes]:
    return (file.read_bytes() for file in path.rglob("*") if file.is_file())


def test_tokens_are_neither_printed_nor_stored(
    hub: Hub, trained: Path, cnnreg: Cnnreg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []

    def said(code: int, *words: object) -> str:
        ended = cnnreg("-v", *words)
        assert ended.code == code, ended.err
        printed.extend((ended.out, ended.err))
        return ended.err

    said(0, "push", trained, NAME)
    assert "The token may not do this" in said(1, "push", trained, "hf://nobody/colours")
    hub.refuse = (403, f"Forbidden for {TOKEN}")
    assert "The token may not do this" in said(1, "push", trained, NAME)
    hub.refuse = (500, f"Broken: {TOKEN}")
    assert "answered 500" in said(1, "predict", f"{NAME}@main", tmp_path / "a.png")
    hub.refuse = (401, f"Invalid: {TOKEN}")
    assert "does not accept the token" in said(1, "push", trained, NAME)
    hub.refuse = None
    other = TOKEN[::-1]
    monkeypatch.setenv("HF_TOKEN", other)
    assert "does not accept the token" in said(1, "push", trained, NAME)
    said(1, "predict", NAME, tmp_path / "a.png")
    assert not [text for text in printed if TOKEN in text or other in text]
    assert not [data for data in everything_below(tmp_path) if TOKEN.encode() in data or other.encode() in data]
    assert not [data for data in files_of(hub).values() if TOKEN.encode() in data]


def test_whatever_a_hub_answers_is_one_line(
    hub: Hub, trained: Path, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories["user/gated"] = Repository(gated=True)
    hub.repositories["user/empty"] = Repository()
    hub.repositories["user/empty"].commit({"README.md": b"nothing"})
    monkeypatch.delenv("HF_TOKEN")

    def line(*words: object) -> str:
        ended = cnnreg(*words)
        assert ended.code == 1
        assert ended.err.count("\n") == 1
        return ended.err

    assert "There is no repository hf://user/none at 127.0.0.1" in line("evaluate", "hf://user/none")
    assert "hf://user/gated is gated: ask for access at " in line("evaluate", "hf://user/gated")
    assert "hf://user/empty has no revision 'v2'" in line("evaluate", "hf://user/empty@v2")
    assert "hf://user/empty does not hold a run that cnnreg push wrote" in line("evaluate", "hf://user/empty")
    assert "Pushing needs a token: log in with hf auth login, or set HF_TOKEN" in line("push", trained, NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "no connection to 127.0.0.1:9" in line("evaluate", "hf://user/none")
    monkeypatch.setattr("cnn_registry.system.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=re.escape("pip install 'cnn-registry[hub]'")):
        load_run(NAME)


def test_a_push_while_somebody_else_pushes_loses_nothing(
    published: Repository, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing = importlib.import_module("cnn_registry.hub.push")

    write_files = pushing.write_files

    def while_somebody_commits(*arguments: object, **options: object) -> None:
        write_files(*arguments, **options)
        published.commit(published.head() | {"theirs.txt": b"theirs"})

    monkeypatch.setattr(pushing, "write_files", while_somebody_commits)
    with pytest.raises(HubError, match="was changed by somebody else meanwhile; nothing was sent"):
        push(trained, NAME)
    assert published.head()["theirs.txt"] == b"theirs"


def test_safetensors_in_a_file_are_weights(published: Repository, trained: Path, tmp_path: Path) -> None:
    file, back = tmp_path / "model.safetensors", tmp_path / "model.weights.h5"
    file.write_bytes(published.head()["model.safetensors"])
    to_keras_file(file, back)
    assert stored_class_names(back) == load_run(trained).class_names
    expected = load_run(trained).model().get_weights()
    found = create_model("tiny", num_classes=len(load_run(trained).class_names), weights=file).get_weights()
    assert all(map(np.array_equal, found, expected))
