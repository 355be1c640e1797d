from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.errors import DownloadError
from cnn_registry.system.download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """A server of one file, and of what can go wrong with it.

    Attributes:
        content: what it sends.
        ranges: whether it knows of ranges.
        break_after: how many bytes of each answer it sends before the connection breaks.
        headers: further headers.
        requests: the path and the ``Range`` header of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges = CONTENT, True
        self.break_after: int | None = None
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, str | None]] = []

    def url(self, path: str = "file.tgz") -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.server.requests.append((self.path, asked))
        if self.path != "/file.tgz":
            self.send_error(404)
            return
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        start = int(match[1]) if match and self.server.ranges else 0
        total = len(self.server.content)
        if start >= total > 0:
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.tgz"


def left(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_the_file_arrives_whole(server: Server, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download([server.url()], target, size=len(CONTENT), digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.tgz"]
    assert capsys.readouterr().err == f"Downloading {server.url()}\n"


def test_who_wants_the_same_file_at_the_same_time_waits_for_it(server: Server, target: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        wanted = [
            pool.submit(download, [server.url()], target, size=len(CONTENT), digest=f"md5:{MD5}") for _ in range(4)
        ]
    assert [each.result() for each in wanted] == [None] * 4
    assert target.read_bytes() == CONTENT
    assert left(target) == ["file.tgz"]


def test_the_next_address_is_tried_where_one_fails(server: Server, target: Path) -> None:
    download(["http://127.0.0.1:1/file.tgz", server.url("elsewhere"), server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT


def test_all_failures_are_reported_in_one_line(server: Server, target: Path) -> None:
    urls = ["http://127.0.0.1:1/file.tgz", server.url("elsewhere")]
    with pytest.raises(DownloadError) as caught:
        download(urls, target, digest=f"md5:{MD5}")
    assert str(caught.value) == (
        f"file.tgz could not be downloaded ({urls[0]}: no connection; {urls[1]}: HTTP 404 Not Found)."
    )
    assert left(target) == []


def test_a_download_resumes_where_it_stopped(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(CONTENT[:100_000])
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/file.tgz", "bytes=100000-")]


def test_a_broken_connection_is_resumed(server: Server, target: Path) -> None:
    server.break_after = 120_000
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=120000-", "bytes=240000-"]


def test_a_connection_that_brings_nothing_is_given_up_and_what_came_is_kept(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(CONTENT[:100_000])
    server.break_after = 0
    with pytest.raises(DownloadError, match="the connection broke"):
        download([server.url()], target, digest=f"md5:{MD5}")
    assert (target.parent / "file.tgz.part").read_bytes() == CONTENT[:100_000]
    server.break_after = None
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(b"from elsewhere")
    server.ranges = False
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT


def test_a_failing_server_does_not_cost_what_came_before(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(CONTENT[:100_000])
    with pytest.raises(DownloadError, match="404"):
        download([server.url("elsewhere")], target, digest=f"md5:{MD5}")
    assert (target.parent / "file.tgz.part").read_bytes() == CONTENT[:100_000]


def test_a_part_as_long_as_the_file_starts_over(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(bytes(len(CONTENT)))
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT


def test_what_was_left_of_another_file_is_not_completed(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "file.tgz.part").write_bytes(bytes(1000))
    download([server.url()], target, size=len(CONTENT), digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT
    assert server.requests == [("/file.tgz", "bytes=1000-"), ("/file.tgz", None)]
    assert left(target) == ["file.tgz"]


def test_wrong_content_is_deleted_and_reported(server: Server, target: Path) -> None:
    server.content = b"<html>Please log in</html>"
    came = hashlib.md5(server.content).hexdigest()
    with pytest.raises(DownloadError, match=rf"expected md5 {MD5}, got md5 {came}, 26 bytes"):
        download([server.url()], target, digest=f"md5:{MD5}")
    assert left(target) == []


def test_a_file_that_is_too_large_is_refused_at_once(server: Server, target: Path) -> None:
    with pytest.raises(DownloadError, match="it has 300,000 bytes, at most 1,000 were expected"):
        download([server.url()], target, size=1000, digest=f"md5:{MD5}")
    assert left(target) == []


def test_what_is_compressed_already_arrives_as_it_is(server: Server, target: Path) -> None:
    server.headers["Content-Encoding"] = "gzip"  # as some servers say of any .tgz
    download([server.url()], target, digest=f"md5:{MD5}")
    assert target.read_bytes() == CONTENT


def test_the_first_digits_of_a_sha256_are_enough(server: Server, target: Path) -> None:
    came = hashlib.sha256(CONTENT).hexdigest()
    download([server.url()], target, digest=f"sha256:{came[:8]}")
    assert target.read_bytes() == CONTENT
    wrong = f"{int(came[:8], 16) ^ 1:08x}"
    with pytest.raises(DownloadError, match=f"expected sha256 {wrong}, got sha256 {came}, 300,000 bytes"):
        download([server.url()], target.with_name("other.tgz"), digest=f"sha256:{wrong}")
