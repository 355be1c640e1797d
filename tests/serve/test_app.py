"""The server: its API, what it refuses, and its page in a browser."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import requests
import uvicorn
from PIL import Image

from cnn_registry.cli.serve import _is_local
from cnn_registry.inference.predictor import Predictor
from cnn_registry.serve import app as app_module
from cnn_registry.serve import uploads
from cnn_registry.serve.app import Served, make_app
from cnn_registry.serve.batcher import Batcher

if TYPE_CHECKING:
    from tests.conftest import Cnnreg

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

COLOURS = ("red", "<img src=x onerror='window.hacked = 1'>", "蓝色 " + "a_very_long_name_" * 6)


class ByColour(Predictor):
    """Names the strongest channel of a picture, without a network."""

    def __init__(self) -> None:
        super().__init__(8, "unit", list, lambda: COLOURS)
        self.batches: list[int] = []

    def __call__(self, images: Any) -> np.ndarray:
        self.batches.append(len(images))
        time.sleep(0.01)
        means = images.mean(axis=(1, 2)) + 1
        return np.asarray(means / means.sum(axis=1, keepdims=True), np.float32)


class Running(NamedTuple):
    url: str
    predictor: ByColour


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    predictor = ByColour()
    listener = socket.create_server(("127.0.0.1", 0))
    app = make_app(Served("colours <b>here</b>", predictor, lambda squares: np.ones((len(squares), 2, 2), np.float32)))
    made = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=made.run, args=([listener],), daemon=True)
    thread.start()
    while not made.started:
        time.sleep(0.01)
    yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", predictor)
    made.should_exit = True
    thread.join()


def picture(colour: str = "red", size: tuple[int, int] = (20, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def post(server: Running, *contents: bytes, query: str = "") -> requests.Response:
    files = [("file", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return requests.post(f"{server.url}/predict{query}", files=files, timeout=30)


def test_pictures_are_answered_with_their_classes(server: Running) -> None:
    [answer] = post(server, picture()).json()["predictions"]
    assert answer["file"] == "0.png"
    assert answer["classes"][0]["class"] == "red"
    assert sum(row["probability"] for row in answer["classes"]) == pytest.approx(1, abs=1e-5)
    first, broken, last = post(server, picture("#00f"), b"text", picture(), query="?top=1").json()["predictions"]
    assert [row["class"] for row in first["classes"]] == [COLOURS[2]]
    assert "not an image in a readable format" in broken["error"]
    assert last["classes"][0]["class"] == "red"
    raw = requests.post(f"{server.url}/predict?explain=1", picture(), headers={"Content-Type": "image/png"}, timeout=30)
    [explained] = raw.json()["predictions"]
    assert explained["explanation"].startswith("data:image/jpeg;base64,")


def test_facts_about_the_model(server: Running) -> None:
    health = requests.get(f"{server.url}/health", timeout=30).json()
    assert health == {"status": "ok", "model": "colours <b>here</b>", "classes": 3, "explains": True}
    assert requests.get(f"{server.url}/labels", timeout=30).json() == {"labels": list(COLOURS)}
    assert set(requests.get(f"{server.url}/openapi.json", timeout=30).json()["paths"]) == {
        "/predict",
        "/health",
        "/labels",
    }
    page = requests.get(server.url, timeout=30)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://", page.text), "nothing is loaded from elsewhere"


def test_what_is_refused_is_refused_in_one_line(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MAX_PIXELS", 10_000)
    cases = [
        (post(server, b"hello"), 422, "0.png cannot be read as an image: not an image in a readable format."),
        (post(server, b""), 422, "empty file"),
        (post(server, picture()[:45]), 422, "cannot be read"),
        (post(server, picture(size=(200, 100))), 422, "more than 10,000 pixels"),
        (requests.post(f"{server.url}/predict", data={"x": "y"}, timeout=30), 422, "not an image"),
        (requests.post(f"{server.url}/predict", files={"other": b"x"}, timeout=30), 400, "form field 'file'"),
        (requests.post(f"{server.url}/predict", timeout=30), 400, "There is no picture"),
        (post(server, *[b"x"] * 65), 413, "Too many files"),
        (requests.post(f"{server.url}/predict", bytes(uploads.MAX_UPLOAD + 1), timeout=30), 413, "more than 32 MB"),
        (requests.get(f"{server.url}/predict", timeout=30), 405, ""),
        (requests.get(f"{server.url}/../../etc/passwd", timeout=30), 404, ""),
    ]
    for response, status, words in cases:
        assert response.status_code == status, response.text
        assert words in response.json()["detail"]
        assert "\n" not in response.json()["detail"]
    assert post(server, picture(), query="?top=0").status_code == 422


def test_a_body_without_a_length_is_bounded_too(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOAD", 1000)
    endless = (b"x" * 500 for _ in range(5))
    assert requests.post(f"{server.url}/predict", endless, timeout=30).status_code == 413
    monkeypatch.setattr(uploads, "SECONDS", 0.1)

    def slow() -> Iterator[bytes]:
        yield b"x"
        time.sleep(0.5)
        yield b"y"

    assert requests.post(f"{server.url}/predict", slow(), timeout=30).status_code == 408


def test_nothing_is_written_to_disk(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: tempfile.SpooledTemporaryFile[bytes]) -> None:
        raise AssertionError("it was written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert len(stream.getvalue()) > 2**21
    assert post(server, stream.getvalue()).status_code == 200


def test_fifty_at_once_are_all_answered_in_common_batches(server: Running) -> None:
    server.predictor.batches.clear()
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda number: post(server, picture("#f00" if number % 2 else "#00f")), range(50)))
    assert {answer.status_code for answer in answers} == {200}
    first = [answer.json()["predictions"][0]["classes"][0]["class"] for answer in answers]
    assert first == [COLOURS[2], "red"] * 25
    assert max(server.predictor.batches) > 1


def test_too_many_at_once_are_turned_away(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MAX_REQUESTS", 0)
    response = post(server, picture())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_a_failure_of_the_network_reaches_those_who_wait_and_no_others() -> None:
    def network(squares: Any) -> np.ndarray:
        if squares.max() > 1:
            raise ValueError("too bright")
        return np.asarray(squares[:, 0, 0])

    async def work() -> None:
        batcher = Batcher(network, ThreadPoolExecutor(1))
        task = asyncio.create_task(batcher.run())
        with pytest.raises(ValueError, match="too bright"):
            await batcher([np.full((1, 1, 3), 9, np.uint8)])
        assert len(await batcher([np.zeros((1, 1, 3), np.uint8)] * 3)) == 3
        task.cancel()

    asyncio.run(work())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


DROP = """
async ([files, selector]) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (c) => c.charCodeAt(0))], name));
  }
  document.querySelector(selector).dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true }));
}
"""


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_answers_what_is_dropped_on_it(server: Running, browser: Any, width: int, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    page.locator("#title", has_text="colours <b>here</b>").wait_for()

    def drop(*files: tuple[str, bytes]) -> None:
        page.evaluate(DROP, [[[name, base64.b64encode(content).decode()] for name, content in files], "#drop"])

    drop(("good.png", picture()), ("text.jpg", b"hello"))
    page.locator("#status", has_text="2 pictures").wait_for()
    broken, good = page.locator("#results li").all_inner_texts()
    assert "cannot be read as an image" in broken
    assert "red" in good
    assert "99" in good or "%" in good
    assert page.locator("#results img[src^='data:image/jpeg']").count() == 1
    page.locator("#files").set_input_files(
        [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture("#00f")} for n in range(50)]
    )
    page.locator("#status", has_text="52 pictures").wait_for()
    assert page.locator(".error").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    page.screenshot(path=tmp_path / f"{width}.png")
    page.locator("#clear").click()
    assert page.locator("#results li").count() == 0
    assert [error for error in errors if "422" not in error] == []
    page.close()


def test_wrong_requests_are_refused_before_a_network_is_loaded(cnnreg: Cnnreg, trained: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cnnreg("serve", trained, "--port", taken.getsockname()[1])
    assert (ended.code, "cannot be listened at" in ended.err) == (2, True)
    assert cnnreg("serve", trained / "none").code == 1
    assert [_is_local(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]


@pytest.mark.slow
def test_the_command_serves_a_run_until_it_is_interrupted(trained: Path, colours: Path) -> None:
    command = [sys.executable, "-m", "cnn_registry", "serve", str(trained), "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            line = next(line for line in lines if line.startswith("Serving"))
            port = re.search(r"http://0\.0\.0\.0:(\d+) \(Ctrl-C stops it\)", line)
            assert port, line
            assert "There is no login" in next(lines)
            with (colours / "green" / "0.png").open("rb") as file:
                answer = requests.post(f"http://127.0.0.1:{port[1]}/predict", files={"file": file}, timeout=60)
            assert answer.json()["predictions"][0]["classes"][0]["class"] == "green"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stdout.read().strip() == "Interrupted."
        finally:
            process.kill()
