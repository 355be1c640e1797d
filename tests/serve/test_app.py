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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import requests
from PIL import Image

from cnn_registry.inference.predictor import Predictor
from cnn_registry.serve import server as server_module
from cnn_registry.serve.app import make_app
from cnn_registry.serve.batcher import Batcher
from cnn_registry.serve.limits import Limits
from cnn_registry.serve.server import listen, make_server
from cnn_registry.serve.service import Served

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
    port: int
    predictor: ByColour


@contextmanager
def serving(thresholds: Sequence[float] | None = None, **options: Any) -> Iterator[Running]:
    """A server in a thread."""
    predictor = ByColour()
    predictor.thresholds = thresholds
    served = Served("colours <b>here</b>", predictor, lambda squares: np.ones((len(squares), 2, 2), np.float32))
    with listen("127.0.0.1", 0) as listener:
        made = make_server(make_app(served, **options))
        made.config.timeout_graceful_shutdown = 1
        thread = threading.Thread(target=made.run, args=([listener],), daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        yield Running(f"http://127.0.0.1:{port}", port, predictor)
        made.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving() as running:
        yield running


def picture(colour: str = "red", size: tuple[int, int] = (20, 10)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def post(server: Running, *contents: bytes, query: str = "", **headers: str) -> requests.Response:
    files = [("file", (f"{number}.png", content)) for number, content in enumerate(contents)]
    return requests.post(f"{server.url}/predict{query}", files=files, headers=headers, timeout=30)


def test_pictures_are_answered_with_their_classes(server: Running) -> None:
    [answer] = post(server, picture()).json()["predictions"]
    assert set(answer) == {"file", "classes"}
    assert answer["file"] == "0.png"
    assert answer["classes"][0]["class"] == "red"
    assert sum(row["probability"] for row in answer["classes"]) == pytest.approx(1, abs=1e-5)
    first, broken, last = post(server, picture("#00f"), b"text", picture(), query="?top=1").json()["predictions"]
    assert [row["class"] for row in first["classes"]] == [COLOURS[2]]
    assert "not an image in a readable format" in broken["error"]
    assert last["classes"][0]["class"] == "red"


def test_where_a_picture_may_show_several_classes_those_that_it_shows_are_named() -> None:
    with serving(thresholds=[0.4, 0.4, 0.9]) as server:
        red, yellow, blue = post(server, picture(), picture("#ff0"), picture("#00f")).json()["predictions"]
    assert (red["labels"], sorted(yellow["labels"]), blue["labels"]) == (["red"], sorted(COLOURS[:2]), [COLOURS[2]])
    assert len(blue["classes"]) == 3


def test_a_picture_comes_as_the_body_or_in_either_field(server: Running) -> None:
    raw = requests.post(f"{server.url}/predict?explain=1", picture(), headers={"Content-Type": "image/png"}, timeout=30)
    [explained] = raw.json()["predictions"]
    data = explained["explanation"].removeprefix("data:image/jpeg;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (20, 10)
    files = [("files", ("a\n.png", picture())), ("file", ("<b>.png", picture("#00f")))]
    both = requests.post(f"{server.url}/predict", files=files, timeout=30).json()["predictions"]
    assert [row["classes"][0]["class"] for row in both] == ["red", COLOURS[2]]
    assert "\n" not in both[0]["file"]
    assert both[1]["file"] == "<b>.png"


def test_facts_about_the_model(server: Running) -> None:
    health = requests.get(f"{server.url}/health", timeout=30).json()
    assert health == {"status": "ok", "model": "colours <b>here</b>", "classes": 3, "explains": True}
    assert requests.get(f"{server.url}/labels", timeout=30).json() == {"labels": list(COLOURS)}
    described = requests.get(f"{server.url}/openapi.json", timeout=30).json()
    assert set(described["paths"]) == {"/predict", "/health", "/labels"}
    asked = described["paths"]["/predict"]["post"]
    assert {parameter["name"] for parameter in asked["parameters"]} == {"top", "explain"}
    form = asked["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert form["file"]["maxItems"] == form["files"]["maxItems"] == 64
    problem = asked["responses"]["422"]["content"]["application/json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
    assert set(described["components"]["schemas"]["ClassProbability"]["properties"]) == {"class", "probability"}
    page = requests.get(server.url, timeout=30)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"https?://", page.text), "nothing is loaded from elsewhere"


def test_what_is_refused_is_refused_in_one_line(server: Running) -> None:
    many = [b"x"] * 10_000
    cases = [
        (post(server, b"hello"), 422, "0.png cannot be read as an image: not an image in a readable format."),
        (post(server, b""), 422, "empty file"),
        (post(server, picture()[:45]), 422, "cannot be read"),
        (requests.post(f"{server.url}/predict", data={"x": "y"}, timeout=30), 422, "not an image"),
        (requests.post(f"{server.url}/predict", files={"other": b"x"}, timeout=30), 400, "form field 'file'"),
        (requests.post(f"{server.url}/predict", timeout=30), 400, "There is no picture"),
        (post(server, *many), 413, "Too many files"),
        (requests.get(f"{server.url}/predict", timeout=30), 405, ""),
        (requests.get(f"{server.url}/%2e%2e/%2e%2e/etc/passwd", timeout=30), 404, ""),
        (post(server, picture(), query="?top=0"), 422, "top: Input should be greater than or equal to 1; got '0'."),
        (post(server, picture(), query="?tops=1"), 422, "tops: Extra inputs are not permitted; got '1'."),
    ]
    for response, status, words in cases:
        assert response.status_code == status, response.text
        assert words in response.json()["detail"]
        assert "\n" not in response.json()["detail"]


def raw(server: Running, *parts: bytes | float) -> bytes:
    """The status and the text that come back for bytes, between which a client may wait for some seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        for part in parts:
            if isinstance(part, bytes):
                connection.sendall(part)
            else:
                time.sleep(part)
        response = HTTPResponse(connection)
        response.begin()
        return f"{response.status} ".encode() + response.read()


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"


def test_requests_that_are_too_large_or_too_slow_are_refused() -> None:
    def endless() -> Iterator[bytes]:
        yield from (b"x" * 500 for _ in range(5))

    with serving(limits=Limits(request_bytes=1000, pixels=100)) as server:
        assert post(server, picture()).json()["detail"].endswith(": more than 100 pixels.")
        assert b"413" in raw(server, HEAD + b"Content-Length: 99999999999999999999\r\n\r\n")
        assert requests.post(f"{server.url}/predict", endless(), timeout=30).status_code == 413
        assert post(server, picture(size=(2, 2))).status_code == 200
    with serving(limits=Limits(seconds=0.2)) as server:
        slow = raw(server, HEAD + b"Content-Length: 9\r\n\r\nx")
        assert b"408" in slow
        assert b"did not arrive" in slow


def test_a_server_takes_on_so_much_at_a_time() -> None:
    for limits in (Limits(requests=0), Limits(pictures=1), Limits(bytes=200)):
        with serving(limits=limits) as server:
            response = post(server, picture(), picture())
            assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
            assert requests.get(f"{server.url}/health", timeout=30).ok


def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.2)
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 3)

    def ends(connection: socket.socket) -> bool:
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True

    with serving() as server:
        at = ("127.0.0.1", server.port)
        connections = [socket.create_connection(at, timeout=20) for _ in range(3)]
        connections[0].sendall(b"GET / HTTP/1.1\r\nHos")
        time.sleep(0.05)
        with socket.create_connection(at, timeout=20) as further:
            assert ends(further)
        assert all(map(ends, connections))
        for connection in connections:
            connection.close()
        assert post(server, picture()).ok


def test_who_leaves_early_disturbs_no_one(server: Running, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nx")
    time.sleep(0.1)
    assert post(server, picture()).ok
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Host": "localhost:1"}, True),
        ({"Host": "[::1]:8000"}, True),
        ({"Host": "rebound.example:8000"}, False),
        ({"Host": "[x"}, False),
        ({"Origin": "https://elsewhere.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://localhost:1", "Host": "localhost:1"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
def test_pages_of_other_sites_may_not_ask(server: Running, headers: dict[str, str], allowed: bool) -> None:
    response = post(server, picture(), **headers)
    assert response.status_code == (200 if allowed else 403)
    assert allowed or response.json()["detail"].endswith(".")


def test_where_other_machines_reach_it_any_name_of_the_server_will_do() -> None:
    with serving(hosts=None) as server:
        assert post(server, picture(), Host="flowers.example").ok
        assert post(server, picture(), Host="flowers.example", Origin="https://elsewhere.example").status_code == 403


def test_nothing_is_written_to_disk(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError("it was written to disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert len(stream.getvalue()) > 2**21
    assert post(server, stream.getvalue(), stream.getvalue()).status_code == 200


def test_fifty_at_once_are_all_answered_in_common_batches(server: Running) -> None:
    server.predictor.batches.clear()
    with ThreadPoolExecutor(50) as clients:
        answers = list(clients.map(lambda number: post(server, picture("#f00" if number % 2 else "#00f")), range(50)))
    assert {answer.status_code for answer in answers} == {200}
    first = [answer.json()["predictions"][0]["classes"][0]["class"] for answer in answers]
    assert first == [COLOURS[2], "red"] * 25
    assert max(server.predictor.batches) > 1


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
        with pytest.raises(ValueError, match="same shape"):
            await asyncio.wait_for(batcher([np.zeros((1, edge, 3), np.uint8) for edge in (1, 2)]), 10)
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


@pytest.mark.parametrize("width", [400, 1600])
def test_the_page_answers_what_is_dropped_on_it(server: Running, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(server.url)
    page.locator("#title", has_text="colours <b>here</b>").wait_for()

    def drop(*files: tuple[str, bytes]) -> None:
        page.evaluate(DROP, [[[name, base64.b64encode(content).decode()] for name, content in files], "#drop"])

    drop(("<i>good</i>.png", picture()), ("text.jpg", b"hello"))
    page.locator("#status", has_text="2 pictures").wait_for()
    broken, good = page.locator("#results li").all_inner_texts()
    assert "text.jpg cannot be read as an image" in broken
    assert re.match(r"<i>good</i>\.png\s+red\s+99\.2 %", good.strip())
    image, button = page.locator("#results img"), page.locator(".picture[aria-pressed]")
    assert image.get_attribute("src").startswith("data:image/jpeg")
    assert image.get_attribute("alt") == "What speaks for red: the red places most"
    button.click()
    assert image.get_attribute("src").startswith("blob:")
    page.locator("#files").set_input_files(
        [{"name": f"{n}.png", "mimeType": "image/png", "buffer": picture("#00f")} for n in range(50)]
    )
    page.locator("#status", has_text="52 pictures").wait_for()
    assert page.locator(".error").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("window.hacked") is None
    page.locator("#clear").click()
    assert page.locator("#results li").count() == 0
    assert not page.locator("#bar").is_visible()
    assert [error for error in errors if "422" not in error] == []
    page.close()


def test_wrong_requests_are_refused_before_a_network_is_loaded(cnnreg: Cnnreg, trained: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = cnnreg("serve", trained, "--port", taken.getsockname()[1])
    assert (ended.code, "cannot be listened at" in ended.err) == (2, True)
    assert cnnreg("serve", trained, "--host", "no such place").code == 2
    assert cnnreg("serve", trained / "none").code == 1


def test_without_its_packages_one_line_says_how_to_install_them(
    cnnreg: Cnnreg, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    ended = cnnreg("serve", trained)
    assert ended.code == 1
    assert "python-multipart" in ended.err
    assert "cnn-registry[serve]" in ended.err


@pytest.mark.slow
def test_the_command_serves_a_run_until_it_is_interrupted(trained: Path, colours: Path, warm_python: list[str]) -> None:
    command = [*warm_python, "-m", "cnn_registry", "serve", str(trained), "--port", "0", "--host", "0.0.0.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            line = next(line for line in lines if line.startswith("Serving"))
            port = re.search(r"http://0\.0\.0\.0:(\d+) \(Ctrl-C stops it\)", line)
            assert port, line
            assert "There is no login" in next(lines)
            with (colours / "green" / "0.png").open("rb") as file:
                url = f"http://127.0.0.1:{port[1]}/predict?explain=true"
                [answer] = requests.post(url, files={"file": file}, timeout=60).json()["predictions"]
            assert answer["classes"][0]["class"] == "green"
            assert answer["explanation"].startswith("data:image/jpeg")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
            assert process.stdout.read().strip() == "Interrupted."
        finally:
            process.kill()
