"""Servers that are made to harm: one line, bounded size, and nothing under the target's name."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import which

import pytest

from cnn_registry.errors import DownloadError
from cnn_registry.system.download import download

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
    "a length that is no number": answer("Content-Length: much"),
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
