"""Download one file: resumable, bounded in size and time, and checked before it takes its place."""

from __future__ import annotations

import hashlib
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from cnn_registry.errors import DownloadError

from .arguments import checked_arguments
from .files import is_own_file
from .progress import progress

TIMEOUTS = (10, 30)
"""Seconds to wait for a connection, and for the next bytes."""

MAX_BYTES = 4 * 2**30
"""The largest file that is downloaded if its size is not known beforehand."""

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How slow a server may be.

    Attributes:
        bytes: how much must arrive in every ``seconds``.
        seconds: from the first request to a URL; waiting for connections and headers counts.
        requests: at most so many are made to a URL for what is missing.
    """

    bytes: int = 1 << 16
    seconds: float = 60.0
    requests: int = 50


@checked_arguments
def download(
    urls: Sequence[str], target: str | Path, *, size: int | None = None, digest: str, patience: Patience | None = None
) -> None:
    """Download a file from the first of ``urls`` that has it.

    What has arrived is kept beside the target as ``<name>.part``, and the next attempt continues from there if the
    server can. A broken connection is resumed if it has brought something. The target appears only when it is complete
    and correct. Where several processes want the same file, one downloads it.

    Args:
        urls: where the file is, in the order to try.
        target: the file to write; its folder is made if necessary.
        size: the file's size in bytes; default what the server says, up to 4 GiB.
        digest: ``"sha256:..."`` or ``"md5:..."`` in hexadecimal, or its first digits if no more is published. So few,
            and MD5, tell a damaged file from a whole one, nothing more.
        patience: how slow a server may be; default 64 KiB per minute.

    Raises:
        DownloadError: no URL gave the file, one led from https to http, or all were too slow; the message has the
            reason for each.
    """
    from filelock import FileLock

    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    was_there = target.exists()
    lock = target.with_name(f".{target.name}.lock")
    with FileLock(lock):  # the workers of a training all ask for their data
        try:
            if was_there or not target.exists():
                _download(urls, target, size, digest, patience or Patience())
        finally:
            with suppress(OSError):  # Windows does not remove what is open
                lock.unlink()


def _download(urls: Sequence[str], target: Path, size: int | None, digest: str, patience: Patience) -> None:
    part = target.with_name(target.name + ".part")
    failures = []
    for url in urls:
        try:
            _complete(url, part, size, digest, patience)
        except (DownloadError, requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            part.replace(target)
            return
    raise DownloadError(f"{target.name} could not be downloaded ({'; '.join(failures)}).")


def _complete(url: str, part: Path, size: int | None, digest: str, patience: Patience) -> None:
    """Complete ``part``, from its beginning where what an earlier download has left is damaged or of another file."""
    had = _size(part)
    _fetch(url, part, size, patience)
    try:
        _check(part, size, digest)
    except DownloadError:
        if not had:
            raise
        _fetch(url, part, size, patience)
        _check(part, size, digest)


def fetch(url: str, *, limit: int, seconds: float = 60.0, accept: str = "*/*") -> bytes:
    """The content of a small file at ``url``, in memory.

    Args:
        url: http or https.
        limit: the most bytes that it may have.
        seconds: in which all of it must have arrived.
        accept: the kind of content that is asked for.

    Raises:
        DownloadError: it could not be had, is larger, is too slow, or leads from https to http.
    """
    answer = _Answer(url, 0, _Pace(Patience(bytes=limit + 1, seconds=seconds)), accept)
    try:
        response = answer.headers()
        response.raise_for_status()
        _refuse_insecure(url, response)
        content = bytearray()
        announced = response.headers.get("Content-Length", "")
        if re.fullmatch("[0-9]{1,18}", announced) and int(announced) > limit:
            raise DownloadError(f"more than {limit:,} bytes")
        for block in answer.blocks():
            content += block
            if len(content) > limit:
                raise DownloadError(f"more than {limit:,} bytes")
    except (DownloadError, requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise DownloadError(_reason(error)) from error
    finally:
        answer.close()
    return bytes(content)


class _Pace:
    """Measures whether enough arrives, over as many requests as it takes."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._arrived = 0
        self._deadline = time.monotonic() + patience.seconds

    def left(self) -> float:
        """Seconds until more must have arrived.

        Raises:
            DownloadError: there are none.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self.too_slow()
        return left

    def add(self, count: int) -> None:
        """So many bytes have arrived."""
        self._arrived += count
        if self._arrived >= self._patience.bytes:
            self._arrived, self._deadline = 0, time.monotonic() + self._patience.seconds

    def too_slow(self) -> DownloadError:
        """The error for what takes too long."""
        return DownloadError(
            f"it is too slow: less than {self._patience.bytes:,} bytes in {self._patience.seconds:g} seconds"
        )


def _fetch(url: str, part: Path, size: int | None, patience: Patience) -> None:
    """Complete ``part``, in as many requests as it takes while each brings something."""
    if os.path.lexists(part) and not is_own_file(part):
        part.unlink()  # a link or a pipe, which would be written through
    pace = _Pace(patience)
    for _ in range(patience.requests):
        before = _size(part)
        try:
            _request(url, part, size, pace)
            return
        except (requests.ConnectionError, urllib3.exceptions.HTTPError):
            if _size(part) <= before:
                raise
    raise DownloadError(f"the connection broke {patience.requests} times")


def _request(url: str, part: Path, size: int | None, pace: _Pace) -> None:
    """One request for what ``part`` lacks."""
    have = _size(part)
    answer = _Answer(url, have, pace)
    try:
        response = answer.headers()
        if have and response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # without it, the next request asks for the whole file
            _request(url, part, size, pace)
            return
        response.raise_for_status()
        _refuse_insecure(url, response)
        if not _continues_from(response, have):
            have = 0
        announced = response.headers.get("Content-Length", "")
        total = have + (int(announced) if re.fullmatch("[0-9]{1,18}", announced) else 0)
        limit = size or MAX_BYTES
        if total > limit:
            raise DownloadError(f"it has {total:,} bytes, at most {limit:,} were expected")
        with part.open("ab" if have else "wb") as file, progress(f"Downloading {url}", total, unit="bytes") as advance:
            advance(have)
            for block in answer.blocks():
                have += len(block)
                if have > limit:
                    raise DownloadError(f"it has more than the {limit:,} bytes that were expected")
                file.write(block)
                pace.add(len(block))
                advance(len(block))
    finally:
        answer.close()


def _refuse_insecure(url: str, response: requests.Response) -> None:
    if url.startswith("https:") and not all(hop.url.startswith("https:") for hop in (*response.history, response)):
        raise DownloadError(f"it leads from https to {response.url}")


class _Answer:
    """A server's answer, received in a thread of its own.

    A timeout of the socket ends a wait for the next byte, and nothing ends a line of headers that arrives byte by byte.
    So the caller waits for the thread no longer than its pace allows, and leaves it alone with its connection.
    """

    def __init__(self, url: str, have: int, pace: _Pace, accept: str = "*/*") -> None:
        self._pace = pace
        self._arrived: queue.Queue[requests.Response | bytes | Exception | None] = queue.Queue(maxsize=64)
        self._closed = threading.Event()
        # "identity": an archive that is already compressed must arrive as it is.
        wanted = {"Accept": accept, "Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        threading.Thread(target=self._receive, args=(url, wanted), daemon=True).start()

    def headers(self) -> requests.Response:
        """The response, whose body is not to be read.

        Raises:
            DownloadError: it takes too long.
        """
        response = self._next()
        assert isinstance(response, requests.Response)
        return response

    def blocks(self) -> Iterator[bytes]:
        """The body, as it arrives.

        Raises:
            DownloadError: it takes too long.
        """
        while isinstance(block := self._next(), bytes):
            yield block

    def close(self) -> None:
        """Let the thread end as soon as it notices."""
        self._closed.set()

    def _next(self) -> requests.Response | bytes | None:
        try:
            item = self._arrived.get(timeout=self._pace.left())
        except queue.Empty:
            raise self._pace.too_slow() from None
        if isinstance(item, Exception):
            raise item
        return item

    def _receive(self, url: str, wanted: dict[str, str]) -> None:
        try:
            with requests.get(url, headers=wanted, stream=True, timeout=TIMEOUTS) as response:
                self._put(response)
                while not self._closed.is_set() and (block := response.raw.read1(_BLOCK, decode_content=False)):
                    self._put(block)
            self._put(None)
        except Exception as error:
            self._put(error)

    def _put(self, item: requests.Response | bytes | Exception | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._arrived.put(item, timeout=1)
                break


def _continues_from(response: requests.Response, have: int) -> bool:
    """Whether the response is the rest of a file of which ``have`` bytes have arrived."""
    came = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return response.status_code == requests.codes.partial_content and came is not None and int(came[1]) == have


def _check(part: Path, size: int | None, digest: str) -> None:
    algorithm, _, expected = digest.partition(":")
    with part.open("rb") as file:
        came = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
    if not came.startswith(expected):
        length = _size(part)
        part.unlink()
        wanted = f"{algorithm} {expected}" + (f" and {size:,} bytes" if size else "")
        raise DownloadError(
            f"what arrived is not the expected file: expected {wanted}, got {algorithm} {came}, {length:,} bytes"
        )


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, DownloadError):
        return str(error)
    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError | urllib3.exceptions.HTTPError):
        return "the connection broke" if "broken" in str(error) else "no connection"
    return " ".join(str(error).split())
