"""Each command that takes a run takes one of a hub, and calls it by its address."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests

from cnn_registry import load_run
from tests.conftest import Cnnreg
from tests.hub.conftest import NAME
from tests.hub.fake import Hub, Repository


@pytest.mark.slow
def test_every_command_takes_a_run_of_a_hub(
    hub: Hub,
    published: Repository,
    trained: Path,
    colours: Path,
    cnnreg: Cnnreg,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    from cnn_registry.serve.server import make_server

    monkeypatch.chdir(tmp_path)
    address = f"{NAME}@{published.branches['main']}"
    picture = next(colours.rglob("*.png"))

    def done(*words: object) -> Any:
        ended = cnnreg(*words)
        assert ended.code == 0, ended.err
        return json.loads(ended.out) if "--json" in words else ended.out

    run = load_run(NAME)
    assert run.location == address
    assert repr(run).startswith(f"<Run {address}: tiny, ")

    [explained] = done("explain", NAME, picture, "-o", "maps", "--json")
    [here] = done("explain", trained, picture, "-o", "maps-here", "--json")
    assert (explained["class"], explained["probability"]) == (here["class"], pytest.approx(here["probability"]))
    np.testing.assert_allclose(np.load(explained["map"]), np.load(here["map"]), atol=1e-5)

    monkeypatch.setattr("cnn_registry.report.compare.SECONDS", 0.0)
    compared = done("compare", NAME, trained, "--json")
    assert [row["run"] for row in compared["runs"]] == [address, str(trained)]
    assert (compared["same_images"], compared["page"]) == (True, "comparison.html")
    assert address in Path("comparison.html").read_text(encoding="utf-8")

    evaluated = done("evaluate", NAME, "--data", colours, "--json")
    assert evaluated["run"] == NAME
    assert evaluated["accuracy"] == done("evaluate", trained, "--data", colours, "--json")["accuracy"]
    ended = cnnreg("evaluate", NAME)
    assert (ended.code, ended.err.splitlines()[-1]) == (1, f"Error: {address} has no images. Name yours with --data.")

    assert done("recipes", NAME) == done("recipes", trained)
    assert tomllib.loads(done("recipes", NAME))["epochs"] == run.record.recipe.epochs
    ended = cnnreg("data", colours, "--run", NAME)
    assert (ended.code, ended.err.splitlines()[-1].partition(" is one run")[0]) == (2, f"Error: {NAME}")

    done("embed", NAME, colours, "-o", "there.npz")
    done("embed", trained, colours, "-o", "here.npz")
    np.testing.assert_allclose(np.load("there.npz")["features"], np.load("here.npz")["features"], atol=1e-5)

    answers: list[dict[str, Any]] = []

    def stopped_after_answers(app: Any) -> SimpleNamespace:
        def run(sockets: list[Any]) -> None:
            server = make_server(app)
            thread = Thread(target=server.run, args=(sockets,), daemon=True)
            thread.start()
            url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
            answers.append(requests.get(f"{url}/health", timeout=120).json())
            sent = requests.post(f"{url}/predict?explain=true", data=picture.read_bytes(), timeout=120)
            answers.append(sent.json())
            server.should_exit = True
            thread.join()

        return SimpleNamespace(run=run)

    monkeypatch.setattr("cnn_registry.serve.server.make_server", stopped_after_answers)
    assert f"Serving {NAME} at http://127.0.0.1:" in done("serve", NAME, "--port", "0")
    health, predicted = answers
    assert health["explains"] is True
    assert predicted["predictions"][0]["classes"][0]["class"] == here["predicted"]
