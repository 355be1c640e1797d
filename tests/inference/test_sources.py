"""What a SOURCE argument names."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from cnn_registry.errors import BadImageError, DataError, UsageError
from cnn_registry.inference import pictures, sources
from cnn_registry.inference.sources import find_pictures


def stdin(content: bytes = b"") -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test, with six pictures."""
    for name in ("a/2.png", "a/10.png", "a/deep/1.png", "b/1.png", "b/[x].png", "top.png"):
        file = tmp_path / "d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), "red").save(file)
    (tmp_path / "d" / "a" / "notes.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*given: str, content: bytes = b"") -> list[str]:
    return [str(picture.name) for picture in find_pictures(given, stdin(content))]


def test_files_folders_patterns_and_lists_name_pictures_in_order(folder: Path) -> None:
    assert found("d/top.png", "d/a") == ["d/top.png", "d/a/2.png", "d/a/10.png", "d/a/deep/1.png"]
    assert found("d/*/1*.png") == ["d/a/10.png", "d/b/1.png"]
    assert found("d/**/*.png") == ["d/a/2.png", "d/a/10.png", "d/a/deep/1.png", "d/b/1.png", "d/b/[x].png", "d/top.png"]
    assert found("d/b/[x].png") == ["d/b/[x].png"], "a file that is there is no pattern"
    (folder / "list.txt").write_text("d/b/[x].png\n\nd/a/deep\r\nmissing.png\n")
    named = ["d/b/[x].png", "d/a/deep/1.png", "missing.png"]
    assert found("@list.txt") == named
    assert found("-", content=(folder / "list.txt").read_bytes()) == named
    marked = b"\xef\xbb\xbf" + (folder / "list.txt").read_bytes()  # as editors on Windows begin a file
    (folder / "marked.txt").write_bytes(marked)
    assert found("@marked.txt") == found("-", content=marked) == named


def test_an_image_on_standard_input_is_one_picture(folder: Path) -> None:
    for suffix in ("png", "jpg", "gif", "bmp", "tiff", "webp"):
        file = folder / f"x.{suffix}"
        Image.new("RGB", (300, 200), "red").save(file)
        [picture] = find_pictures(["-"], stdin(file.read_bytes()))
        assert picture.name == "-"
        assert picture.pixels(8).mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=2)


def test_what_names_nothing_is_refused_before_anything_is_read(folder: Path) -> None:
    (folder / "empty").mkdir()
    picture = next(folder.rglob("*.png"))
    for given, error, message in (
        (["d/a", "empty"], DataError, "empty holds no pictures; expected JPEG"),
        (["d/a", "d/*.gif"], DataError, r"No file matches 'd/\*\.gif'"),
        (["@none.txt"], DataError, r"The list none\.txt cannot be read: No such file"),
        ([f"@{picture}"], DataError, r"\.png is not a list of paths, one per line\. Name an image without @"),
        (["-"], DataError, "Standard input is empty"),
        (["-", "-"], UsageError, "can be read once"),
    ):
        with pytest.raises(error, match=message):
            find_pictures(given, stdin())
    with pytest.raises(BadImageError, match="no such file"):
        find_pictures(["d/a", "none.png"], stdin(), must_exist=True)


def test_an_image_whose_name_begins_with_at_is_not_a_list(folder: Path) -> None:
    (folder / "d/top.png").rename(folder / "@2x.png")
    with pytest.raises(DataError, match=r"The list 2x\.png cannot be read: .* is written \./@2x\.png\.$"):
        found("@2x.png")
    assert found("./@2x.png") == ["@2x.png"]


def test_a_large_folder_is_read_as_it_is_needed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(found("d/a")) == 3
    monkeypatch.setattr(sources, "SORTED_UP_TO", 1)
    assert sorted(found("d/a")) == sorted(["d/a/2.png", "d/a/10.png", "d/a/deep/1.png"])


@pytest.mark.skipif(os.name == "nt", reason="names there are not bytes")
def test_a_name_that_is_not_utf_8_is_found(folder: Path) -> None:
    name = os.fsdecode(b"d/b/\xff.png")
    try:
        (folder / "d/top.png").rename(folder / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert name in found("d/b")
    assert found("-", content=b"d/b/\xff.png\n") == [name]


class Handler(BaseHTTPRequestHandler):
    """Serves one picture, and misbehaves on request."""

    content = b""

    def do_GET(self) -> None:
        if self.path == "/none.png":
            self.send_error(404)
            return
        if self.path == "/nowhere.png":
            self.send_response(302)
            self.send_header("Location", "http://[::1")  # which urllib cannot parse
            self.end_headers()
            return
        self.send_response(200)
        if self.path == "/large.png":
            self.send_header("Content-Length", str(10**9))
        self.end_headers()
        body = b"x" * 5000 if self.path == "/endless.png" else self.content
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    Handler.content = (folder / "d" / "top.png").read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_an_address_is_fetched_within_bounds(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MAX_DOWNLOAD", 2000)
    good, *bad = find_pictures(
        [f"{server}/{name}.png" for name in ("ok", "none", "large", "endless", "nowhere")], stdin()
    )
    assert good.name == f"{server}/ok.png"
    assert (good.pixels(2) == (255, 0, 0)).all()
    reasons = ("HTTP 404", "more than 2,000 bytes", "more than 2,000 bytes", "Invalid IPv6 URL")
    for picture, reason in zip(bad, reasons, strict=True):
        with pytest.raises(BadImageError) as caught:
            picture.pixels(2)
        assert reason in caught.value.reason
    [nobody] = find_pictures(["http://127.0.0.1:1/x.png"], stdin())
    with pytest.raises(BadImageError, match="no connection"):
        nobody.pixels(2)


def test_a_list_without_ends_of_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a" * 70_000)
    with pytest.raises(DataError, match="a line of more than 65,536 bytes"):
        list(find_pictures([f"@{tmp_path / 'list.txt'}"], io.BufferedReader(io.BytesIO())))
    with pytest.raises(DataError, match="is not a list of paths, one per line"):
        find_pictures(["@/dev/zero"], io.BufferedReader(io.BytesIO()))
