"""When the server's application begins to work, and what is found out before it answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
import requests
from fastapi import FastAPI

from cnn_registry.errors import DownloadError
from cnn_registry.inference.predictor import Predictor
from cnn_registry.serve.app import make_app
from cnn_registry.serve.server import listen, make_server
from cnn_registry.serve.service import Served
from tests.serve.test_app import ByColour, picture

if TYPE_CHECKING:
    from tests.conftest import Cnnreg


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The address of an application that is served in a thread."""
    with listen("127.0.0.1", 0) as listener:
        server = make_server(app)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def first_class(address: str) -> str:
    answer = requests.post(f"{address}/predict", picture(), timeout=10).json()
    return str(answer["predictions"][0]["classes"][0]["class"])


def test_an_application_may_be_served_again() -> None:
    app = make_app(Served("colours", ByColour()))
    for _ in range(2):
        with serving(app) as address:
            assert first_class(address) == "red"


def test_an_application_may_be_part_of_another_one() -> None:
    outer = FastAPI()
    outer.mount("/colours", make_app(Served("colours", ByColour())))
    with serving(outer) as address:
        assert first_class(f"{address}/colours") == "red"
        page = requests.get(f"{address}/colours", timeout=10)
        linked = re.findall(r'(?:href|src)="([^":]+)"', page.text)
        assert sorted(linked) == ["page.css", "page.js"]
        files = [requests.get(urljoin(page.url, link), timeout=10) for link in linked]
        asked = [address for file in files for address in re.findall(r'fetch\(["`]([^"`$]+)', file.text)]
        assert [file.status_code for file in files] == [200, 200]
        assert sorted(asked) == ["health", "predict"], "beside the page, wherever that is"


def test_names_of_classes_that_cannot_be_had_end_the_command(cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[str]:
        raise DownloadError("The classes could not be had.")

    def found(*arguments: Any, **options: Any) -> Predictor:
        predictor = ByColour()
        predictor._names = names
        return predictor

    monkeypatch.setattr(import_module("cnn_registry.inference.predict"), "find_predictor", found)
    monkeypatch.setattr("cnn_registry.serve.server.make_server", None)  # it is not to be served
    ended = cnnreg("serve", "published", "--weights", "imagenet", "--port", 0)
    assert (ended.code, ended.out) == (1, "")
    assert "Error: The classes could not be had.\n" in ended.err
