"""What a request brings: pictures, in memory and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import NamedTuple

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from cnn_registry.text import printable

from .limits import Limits

FIELDS = ("file", "files")
"""Names of form fields with pictures."""

SHOWN = 200
"""Letters of a file's name that are repeated in an answer."""


class Upload(NamedTuple):
    """One file of a request.

    Attributes:
        name: as the sender calls it, in one line.
        content: its bytes.
    """

    name: str
    content: bytes


async def read_uploads(request: Request, limits: Limits, hold: Callable[[int], None]) -> list[Upload]:
    """The files of a request: those of the fields `FIELDS` of a form, or its body.

    Args:
        request: its body has not been read.
        limits: of one request.
        hold: is called with the number of bytes whenever some have come.

    Raises:
        HTTPException: 413 where it is too large, 408 where it is too slow, 400 where it has no files, 503 where
            ``hold`` refuses.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.request_bytes:
        raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.seconds):
            content = await _body(request, limits, hold)
    except TimeoutError as error:
        raise HTTPException(408, f"The request did not arrive in {limits.seconds:.0f} seconds.") from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The connection was closed before the request was complete.") from error
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    uploads = await _files(request, content, limits) if kind == "multipart/form-data" else [Upload("body", content)]
    if not uploads or (not content):
        raise HTTPException(400, "There is no picture: send one or more as the form field 'file', or one as the body.")
    return uploads


async def _body(request: Request, limits: Limits, hold: Callable[[int], None]) -> bytes:
    content = bytearray()
    async for block in request.stream():
        hold(len(block))
        if len(content) + len(block) > limits.request_bytes:
            raise _too_large(limits)
        content += block
    return bytes(content)


async def _files(request: Request, content: bytes, limits: Limits) -> list[Upload]:
    """The files of a form."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield content

    bounds = {"max_files": limits.request_files, "max_fields": limits.request_files}
    parser = MultiPartParser(request.headers, whole(), **bounds)
    parser.spool_max_size = limits.request_bytes + 1  # nothing is written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Too many" in error.message else 400
        raise HTTPException(status, printable(error.message)) from error
    try:
        files = [item for name, item in form.multi_items() if name in FIELDS and isinstance(item, UploadFile)]
        return [Upload(printable(file.filename or "picture")[:SHOWN], await file.read()) for file in files]
    finally:
        await form.close()


def _too_large(limits: Limits) -> HTTPException:
    megabytes = limits.request_bytes / 2**20
    return HTTPException(413, f"The request has more than {megabytes:g} MB; send fewer or smaller pictures.")
