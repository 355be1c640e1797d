"""What a request brings: pictures, in memory and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from cnn_registry.text import printable

MAX_UPLOAD = 2**25
"""The largest request in bytes."""

MAX_FILES = 64
"""The most pictures in one request."""

SECONDS = 60.0
"""In which a request must have arrived."""

FIELD = "file"

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


async def read_uploads(request: Request) -> list[Upload]:
    """The files of a request: those of the field ``file`` of a form, or its body.

    Raises:
        HTTPException: 413 where it is too large, 408 where it is too slow, 400 where it has no files.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_UPLOAD:
        raise _too_large()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(SECONDS):
            content = b"".join([block async for block in _bounded(request)])
    except TimeoutError as error:
        raise HTTPException(408, f"The request did not arrive in {SECONDS:.0f} seconds.") from error
    if kind == "multipart/form-data":
        return await _form(request, content)
    if not content:
        raise HTTPException(400, "There is no picture: send one or more as the form field 'file', or one as the body.")
    return [Upload("body", content)]


async def _form(request: Request, content: bytes) -> list[Upload]:
    """The files of a form."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield content

    parser = MultiPartParser(request.headers, whole(), max_files=MAX_FILES, max_fields=MAX_FILES)
    parser.spool_max_size = MAX_UPLOAD + 1  # nothing is written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Too many" in error.message else 400
        raise HTTPException(status, " ".join(error.message.split())) from error
    try:
        files = [item for item in form.getlist(FIELD) if isinstance(item, UploadFile)]
        if not files:
            raise HTTPException(400, "There is no picture: send one or more as the form field 'file'.")
        return [Upload(printable(file.filename or "picture")[:SHOWN], await file.read()) for file in files]
    finally:
        await form.close()


async def _bounded(request: Request) -> AsyncGenerator[bytes, None]:
    """The body, as far as it may go."""
    arrived = 0
    async for block in request.stream():
        arrived += len(block)
        if arrived > MAX_UPLOAD:
            raise _too_large()
        yield block


def _too_large() -> HTTPException:
    return HTTPException(413, f"The request has more than {MAX_UPLOAD // 2**20} MB; send fewer or smaller pictures.")
