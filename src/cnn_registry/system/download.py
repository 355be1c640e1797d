"""Fetch one file: resumable, bounded, and checked before it takes its place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import requests
import urllib3

from cnn_registry.errors import DownloadError

from .progress import progress

TIMEOUTS = (10, 30)
"""Seconds to wait for a connection, and for the next bytes."""

MAX_BYTES = 4 * 2**30
"""The largest file that is fetched where its size is not known beforehand."""

_BLOCK = 1 << 16


def download(urls: Sequence[str], target: Path, *, size: int | None = None, digest: str) -> None:
    """Fetch a file from the first of ``urls`` that has it.

    What has arrived lies beside the target as ``<name>.part``, and the next attempt goes on from there where the
    server can; a connection that breaks is taken up again as long as it brings something. The target appears only
    when it is complete and right.

    Args:
        urls: where the file is, in the order to try.
        target: the file to make; its folder is made too.
        size: bytes of the file; default whatever the server says, up to `MAX_BYTES`.
        digest: ``"sha256:..."`` or ``"md5:..."`` in hexadecimal, or its first digits where no more is published. So
            few, and MD5, tell a damaged file from a whole one, nothing more.

    Raises:
        DownloadError: no URL gave the file, or one led from https to http; the message has the reason of each.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures = []
    for url in urls:
        try:
            _fetch(url, part, size)
            _check(part, size, digest)
        except (DownloadError, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failures.append(f"{url}: {_reason(error)}")
        else:
            part.replace(target)
            return
    raise DownloadError(f"{target.name} could not be fetched ({'; '.join(failures)}).")


def _fetch(url: str, part: Path, size: int | None) -> None:
    """Bring ``part`` to its end, in as many requests as it takes while each brings something."""
    while True:
        before = _size(part)
        try:
            return _request(url, part, size)
        except (requests.ConnectionError, urllib3.exceptions.HTTPError):
            if _size(part) <= before:
                raise


def _request(url: str, part: Path, size: int | None) -> None:
    """One request for what ``part`` lacks."""
    have = _size(part)
    # "identity": an archive that is compressed already must arrive as it is.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()
            _request(url, part, size)
            return
        response.raise_for_status()
        if url.startswith("https:") and not all(hop.url.startswith("https:") for hop in (*response.history, response)):
            raise DownloadError(f"it leads from https to {response.url}")
        if not _goes_on_from(response, have):
            have = 0
        announced = response.headers.get("Content-Length", "")
        total = have + (int(announced) if re.fullmatch("[0-9]{1,18}", announced) else 0)
        limit = size or MAX_BYTES
        if total > limit:
            raise DownloadError(f"it has {total:,} bytes, at most {limit:,} were expected")
        with part.open("ab" if have else "wb") as file, progress(f"Downloading {url}", total, unit="bytes") as advance:
            advance(have)
            for block in response.raw.stream(_BLOCK, decode_content=False):
                have += len(block)
                if have > limit:
                    raise DownloadError(f"it has more than the {limit:,} bytes that were expected")
                file.write(block)
                advance(len(block))


def _goes_on_from(response: requests.Response, have: int) -> bool:
    """Whether the response is the rest of a file of which ``have`` bytes are here."""
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
            f"what came is not the expected file: expected {wanted}, got {algorithm} {came}, {length:,} bytes"
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
