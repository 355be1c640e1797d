"""Newer versions of installed plugins, asked from an index on 127.0.0.1."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from cnn_registry.registry import outdated as module
from cnn_registry.registry.outdated import Newer, ask_index, index_address, installed_packages
from tests.conftest import Cnnreg, FakePlugins, declaration

PASSWORD = "a-secret-password"


class Index(ThreadingHTTPServer):
    """An index of packages: the files of each, and what it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str]] = []
        self.html = False

    @property
    def address(self) -> str:
        return f"http://user:{PASSWORD}@127.0.0.1:{self.server_address[1]}/simple"


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Accept"]))
        files = self.server.files.get(self.path.split("/")[2])
        body = b"<html></html>" if self.server.html else json.dumps({"files": files}).encode()
        self.send_response(404 if files is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    server = Index()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("PIP_INDEX_URL", server.address)
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setattr(module, "_pip_settings", lambda: {"index-url": server.address})
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def wheel(name: str, version: str, **facts: object) -> dict[str, Any]:
    return {"filename": f"{name}-{version}-py3-none-any.whl"} | facts


def test_newer_versions_are_found(index: Index, plugins: FakePlugins, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.install("cnnreg-new", source=declaration("new"), entries={"new": "cnnreg_new:new"}, version="1.0")
    monkeypatch.setattr(module, "installed_packages", lambda: {"cnnreg-mine": "1.0", "cnnreg-new": "1.0", "x": "2.0"})
    index.files["cnnreg-new"] = [
        wheel("cnnreg_new", "0.9"),
        wheel("cnnreg_new", "1.2"),
        wheel("cnnreg_new", "1.10"),
        wheel("cnnreg_new", "2.0", yanked="a bad release"),
        wheel("cnnreg_new", "3.0", **{"requires-python": ">=4"}),
        wheel("cnnreg_new", "4.0rc1"),
        {"filename": "cnnreg_new-5.0.tar.gz.sig"},
        {"filename": "cnnreg_new-1.11.tar.gz"},
    ]
    index.files["x"] = [wheel("x", "2.0"), wheel("x", "1.0")]
    found = ask_index()
    assert found.newer == (Newer("cnnreg-new", "1.0", "1.11"),)
    assert (found.missing, found.asked, found.fault) == (("cnnreg-mine",), 3, "")
    assert index.asked[0] == ("/simple/cnnreg-mine/", "application/vnd.pypi.simple.v1+json")


def test_packages_with_plugins_are_asked_about(plugins: FakePlugins) -> None:
    plugins.install("cnnreg-new", source=declaration("new"), entries={"new": "cnnreg_new:new"}, version="1.0")
    found = installed_packages()
    assert found["cnnreg-new"] == "1.0"
    assert "cnn-registry" in found
    assert "numpy" not in found


def test_an_index_that_cannot_be_asked_is_one_line(
    index: Index, monkeypatch: pytest.MonkeyPatch, plugins: FakePlugins
) -> None:
    monkeypatch.setattr(module, "installed_packages", lambda: {"x": "1.0"})
    index.files["x"] = []
    index.html = True
    assert ask_index().fault.endswith("does not answer in JSON (PEP 691)")
    monkeypatch.setattr(module, "_pip_settings", lambda: {"index-url": f"http://user:{PASSWORD}@127.0.0.1:9/simple"})
    assert ask_index().fault == "http://127.0.0.1:9/simple cannot be asked: no connection"
    monkeypatch.setattr(module, "_pip_settings", lambda: {"index-url": "file:///wheels"})
    assert ask_index().fault == "pip's index file:///wheels is not an address that can be asked"
    monkeypatch.setattr(module, "_pip_settings", lambda: {"no-index": "true", "index-url": "http://127.0.0.1:9"})
    assert ask_index().fault == "pip is configured to use no index"
    for address in ("ftp://{}@host/simple", "http://{}@[host/simple", "http://{}@127.0.0.1:99999/simple"):
        wrong = {"index-url": address.format(f"user:{PASSWORD}")}
        monkeypatch.setattr(module, "_pip_settings", lambda wrong=wrong: wrong)
        assert ask_index().fault
        assert PASSWORD not in ask_index().fault


def test_the_address_is_that_of_pips_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    assert index_address() == "http://127.0.0.1:9/simple"


def test_doctor_says_what_is_outdated(
    index: Index, cnnreg: Cnnreg, monkeypatch: pytest.MonkeyPatch, plugins: FakePlugins
) -> None:
    monkeypatch.setattr("cnn_registry.cli.doctor._onednn", lambda: "on")  # which imports TensorFlow
    monkeypatch.setattr(module, "installed_packages", lambda: {"cnnreg-mine": "1.0", "cnnreg-new": "1.0"})
    index.files["cnnreg-new"] = [wheel("cnnreg_new", "1.2")]
    ended = cnnreg("doctor", "--outdated")
    assert ended.code == 0
    assert "cnnreg-new 1.0 is installed, 1.2 is available: pip install --upgrade cnnreg-new\n" in ended.out
    assert "The index does not have cnnreg-mine.\n" in ended.out
    facts = json.loads(cnnreg("doctor", "--outdated", "--json").out)
    assert facts["outdated"]["newer"] == [{"distribution": "cnnreg-new", "installed": "1.0", "newest": "1.2"}]
    index.files["cnnreg-new"] = index.files["cnnreg-mine"] = []
    assert "2 packages are the newest that the index has.\n" in cnnreg("doctor", "--outdated").out
    monkeypatch.setattr(module, "_pip_settings", lambda: {"index-url": "http://127.0.0.1:9/simple"})
    ended = cnnreg("doctor", "--outdated")
    assert ended.code == 0
    assert "Newer versions are not known: http://127.0.0.1:9/simple cannot be asked: no connection.\n" in ended.out
    index.asked.clear()
    assert "outdated" not in json.loads(cnnreg("doctor", "--json").out)
    assert index.asked == []
    assert PASSWORD not in ended.out + ended.err
