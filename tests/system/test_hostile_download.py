"""Servers that are made to harm: one line, bounded size, and nothing under the target's name."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from shutil import which

import pytest

from cnn_registry.errors import DownloadError
from cnn_registry.system.download import Patience, download

CONTENT = b"what is expected" * 100
DIGEST = f"sha256:{sha256(CONTENT).hexdigest()}"

Serve = Callable[[bytes], str]


@contextmanager
def served(answer: bytes, wrap: Callable[[socket.socket], socket.socket] = lambda accepted: accepted) -> Iterator[str]:
    """The port of a server that gives every request the same bytes and then closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    with wrap(listening.accept()[0]) as accepted:
                        accepted.settimeout(10)
                        accepted.recv(1 << 16)
                        accepted.sendall(answer)
                except ssl.SSLError:
                    continue
                except OSError:
                    if listening.fileno() < 0:
                        return

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def answer(*headers: str, status: str = "200 OK", body: bytes = CONTENT) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "Connection: close", "", ""]).encode("latin-1") + body


HOSTILE = {
    "a length that is not a number": answer("Content-Length: much"),
    "a length below zero": answer("Content-Length: -5"),
    "a length of petabytes": answer(f"Content-Length: {2**60}"),
    "a length of thousands of digits": answer(f"Content-Length: {'9' * 5000}"),
    "more than is allowed, without a length": answer(body=bytes(2**20)),
    "chunks without a size": answer("Transfer-Encoding: chunked", body=b"zz\r\nabc"),
    "a chunk of petabytes": answer("Transfer-Encoding: chunked", body=b"fffffffffffffff\r\nabc"),
    "a redirection to itself": answer("Location: /", status="302 Found", body=b""),
    "a redirection to a file": answer("Location: file:///etc/passwd", status="302 Found", body=b""),
    "an escape sequence as reason": answer(status="404 \x1b[2J\x1b]0;owned\x07", body=b""),
    "no HTTP": b"\x1b[2J\x00\xff" * 100,
    "nothing": b"",
    "something else": answer(body=b"something else"),
    "a range that nobody asked for": answer("Content-Range: bytes 5-9/10", status="206 Partial Content"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_server_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    target = tmp_path / "new" / "file.tgz"
    with served(HOSTILE[name]) as address:
        try:
            download([f"http://{address}/file.tgz"], target, size=len(CONTENT) * 2, digest=DIGEST)
        except DownloadError as error:
            message = str(error)
        else:
            message = ""
    assert message.isprintable()
    # What is right is right whatever the headers said.
    assert target.read_bytes() == CONTENT if not message else not target.exists()
    assert sum(file.stat().st_size for file in target.parent.iterdir()) <= len(CONTENT) * 2


Talk = Callable[[socket.socket], None]


@contextmanager
def talking(talk: Talk) -> Iterator[tuple[str, list[float]]]:
    """The port of a server that handles each connection as ``talk`` does, and when each began."""
    began: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def handle(accepted: socket.socket) -> None:
            with accepted, suppress(OSError):
                accepted.recv(1 << 16)
                talk(accepted)

        def run() -> None:
            while True:
                try:
                    accepted = listening.accept()[0]
                except OSError:
                    return
                began.append(time.monotonic())
                threading.Thread(target=handle, args=(accepted,), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", began
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def dribbled(start: bytes, rest: bytes) -> Talk:
    """Sends ``start`` at once, and then a byte every twentieth of a second."""

    def talk(accepted: socket.socket) -> None:
        accepted.sendall(start)
        for byte in rest:
            time.sleep(0.05)
            accepted.sendall(bytes([byte]))

    return talk


def silent(accepted: socket.socket) -> None:
    accepted.sendall(answer("Content-Length: 9999", body=b"some"))
    time.sleep(20)


SLOW: dict[str, Talk] = {
    "a byte at a time": dribbled(answer("Content-Length: 9999", body=b""), bytes(9999)),
    "without a length": dribbled(answer(body=b""), bytes(9999)),
    "headers": dribbled(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 9999),
    "many headers": dribbled(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 1000),
    "a status": dribbled(b"", b"HTTP/1.1 200 " + b"O" * 9999),
    "the length of a chunk": dribbled(answer("Transfer-Encoding: chunked", body=b"5;x="), b"x" * 9999),
    "trailers": dribbled(answer("Transfer-Encoding: chunked", body=b"0\r\n"), b"X: y\r\n" * 1000),
    "nothing more": silent,
}


@pytest.mark.parametrize("name", SLOW)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(tmp_path: Path, name: str) -> None:
    target = tmp_path / "file.tgz"
    began = time.monotonic()
    with talking(SLOW[name]) as (address, _):
        url = f"http://{address}/file.tgz"
        with pytest.raises(DownloadError) as caught:
            download([url], target, digest=DIGEST, patience=Patience(bytes=500, seconds=1))
    assert str(caught.value) == (
        f"file.tgz could not be downloaded ({url}: it is too slow: less than 500 bytes in 1 seconds)."
    )
    assert time.monotonic() - began < 10
    assert not target.exists()


def test_a_byte_per_connection_ends_after_some_requests(tmp_path: Path) -> None:
    sent = iter(CONTENT)

    def talk(accepted: socket.socket) -> None:
        byte = next(sent)
        place = len(CONTENT) - 1 - sent.__length_hint__()  # type: ignore[attr-defined]  # of a bytes iterator
        lines = [
            f"Content-Range: bytes {place}-{len(CONTENT) - 1}/{len(CONTENT)}",
            f"Content-Length: {len(CONTENT) - place}",
        ]
        accepted.sendall(
            answer(*lines[0 if place else 1 :], status="206 Partial" if place else "200 OK", body=bytes([byte]))
        )

    with talking(talk) as (address, began), pytest.raises(DownloadError, match="the connection broke 7 times"):
        download([f"http://{address}/f"], tmp_path / "f", digest=DIGEST, patience=Patience(requests=7))
    assert len(began) == 7
    assert (tmp_path / "f.part").read_bytes() == CONTENT[:7]


def test_what_arrives_in_time_is_kept_over_requests(tmp_path: Path) -> None:
    half = len(CONTENT) // 2

    def talk(accepted: socket.socket) -> None:
        time.sleep(0.3)
        if len(began) == 1:
            accepted.sendall(answer(f"Content-Length: {len(CONTENT)}", body=CONTENT[:half]))
            return
        headers = (
            f"Content-Range: bytes {half}-{len(CONTENT) - 1}/{len(CONTENT)}",
            f"Content-Length: {len(CONTENT) - half}",
        )
        accepted.sendall(answer(*headers, status="206 Partial", body=CONTENT[half:]))

    with talking(talk) as (address, began):
        download([f"http://{address}/f"], tmp_path / "f", digest=DIGEST, patience=Patience(bytes=half, seconds=5))
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_what_is_in_place_of_the_part_is_not_written_through(tmp_path: Path, kind: str) -> None:
    thesis, part = tmp_path / "thesis.txt", tmp_path / "f.part"
    thesis.write_text("years of work")
    if kind == "pipe":
        os.mkfifo(part)
    else:
        part.symlink_to(thesis if kind == "link" else "nowhere")
    with served(answer(f"Content-Length: {len(CONTENT)}")) as address:
        download([f"http://{address}/f"], tmp_path / "f", digest=DIGEST)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "thesis.txt"]
    assert thesis.read_text() == "years of work"


def test_a_range_that_is_never_satisfiable_ends(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"part")
    unsatisfiable = answer(status="416 Range Not Satisfiable", body=b"")
    with served(unsatisfiable) as address, pytest.raises(DownloadError, match="HTTP 416"):
        download([f"http://{address}/f"], tmp_path / "f", digest=DIGEST)


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[socket.socket], socket.socket]:
    """Wraps a server's connection in TLS, with a certificate that this test trusts."""
    if which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "certificate.pem"))
    return lambda accepted: context.wrap_socket(accepted, server_side=True)


def test_https_does_not_lead_to_http(
    tmp_path: Path, encrypted: Callable[[socket.socket], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "new" / "file.tgz"
    whole = answer(f"Content-Length: {len(CONTENT)}")
    with served(whole) as plain, served(whole, encrypted) as secure:
        download([f"https://{secure}/file.tgz"], target, digest=DIGEST)
        assert target.read_bytes() == CONTENT
        target.unlink()
        away = answer(f"Location: http://{plain}/file.tgz", status="302 Found", body=b"")
        told = pytest.raises(DownloadError, match=rf"it leads from https to http://{plain}/file\.tgz")
        with served(away, encrypted) as downgrading, told:
            download([f"https://{downgrading}/file.tgz"], target, digest=DIGEST)
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        with pytest.raises(DownloadError, match="no connection"):  # to whom nobody vouches for
            download([f"https://{secure}/file.tgz"], target, digest=DIGEST)
    assert list(target.parent.iterdir()) == []
