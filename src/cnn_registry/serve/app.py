"""The application: a page, and a JSON API beside it."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from cnn_registry.backend import usable_cpus
from cnn_registry.data.dataset import Bytes
from cnn_registry.data.image import decode_image, fitted, resized
from cnn_registry.errors import BadImageError
from cnn_registry.explain import overlay
from cnn_registry.inference.predict import most_probable
from cnn_registry.inference.predictor import Predictor

from .batcher import Batcher
from .uploads import MAX_FILES, Upload, read_uploads

MAX_PIXELS = 40_000_000
"""The largest picture that is decoded, width times height."""

MAX_REQUESTS = 64
"""Requests that are answered or wait at a time; further ones are turned away."""

PICTURE_EDGE = 320
"""The longest edge of a picture with a map over it, in pixels."""

MapsOf = Callable[[Bytes], np.ndarray]
"""From uint8 RGB ``(N, size, size, 3)`` to a map ``(N, h, w)`` for each picture."""

PAGE = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "array",
                            "maxItems": MAX_FILES,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        title: what the page calls it.
        predictor: the model.
        maps: Grad-CAM of the most probable class; ``None`` where there is none.
    """

    title: str
    predictor: Predictor
    maps: MapsOf | None = None


class DecodedUpload(NamedTuple):
    """An uploaded picture.

    Attributes:
        square: as the network takes it.
        small: as the page shows it.
    """

    square: Bytes
    small: Bytes


def make_app(served: Served) -> FastAPI:
    """The ASGI application for a model. Nothing is written to disk.

    Args:
        served: the model.
    """
    network = ThreadPoolExecutor(1, "network")
    decoders = ThreadPoolExecutor(usable_cpus(), "decoder")
    batcher = Batcher(served.predictor, network)
    active = 0

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        working = asyncio.create_task(batcher.run())
        yield
        working.cancel()
        network.shutdown(wait=False, cancel_futures=True)
        decoders.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title=served.title,
        description="Classifies pictures. Errors are {'detail': one line}.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # it would be fetched from elsewhere
        redoc_url=None,
    )

    @app.middleware("http")
    async def bounded(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        nonlocal active
        if active >= MAX_REQUESTS:
            return JSONResponse({"detail": "Too many requests at a time; try again."}, 503, {"Retry-After": "1"})
        active += 1
        try:
            response = await follow(request)
        finally:
            active -= 1
        response.headers.update(HEADERS)
        return response

    for path, (name, kind) in PAGE.items():
        app.add_api_route(path, _static(name, kind), include_in_schema=False)

    @app.get("/health", summary="Whether the model answers")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "model": served.title,
            "classes": len(served.predictor.class_names),
            "explains": served.maps is not None,
        }

    @app.get("/labels", summary="The classes, in the order of the model's outputs")
    async def labels() -> dict[str, list[str]]:
        return {"labels": list(served.predictor.class_names)}

    @app.post("/predict", summary="The most probable classes of one or more pictures", openapi_extra=BODY)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, description="Classes to give for each picture.")] = 5,
        explain: Annotated[bool, Query(description="Add pictures that show what speaks for the class.")] = False,
    ) -> dict[str, list[dict[str, Any]]]:
        uploads = await read_uploads(request)
        loop = asyncio.get_running_loop()
        found = await asyncio.gather(
            *(loop.run_in_executor(decoders, _decode, upload, served.predictor.size) for upload in uploads)
        )
        good = [item for item in found if isinstance(item, DecodedUpload)]
        if not good:
            raise HTTPException(422, "; ".join(str(item) for item in found if isinstance(item, BadImageError)))
        rows = iter(await batcher([item.square for item in good]))
        pictures: Sequence[str] = [""] * len(good)
        if explain and served.maps:
            pictures = await loop.run_in_executor(network, _explained, served.maps, good)
        shown = iter(pictures)
        return {
            "predictions": [
                _answer(upload, item, rows, shown, served.predictor.class_names, top)
                for upload, item in zip(uploads, found, strict=True)
            ]
        }

    return app


def _static(name: str, kind: str) -> Callable[[], Response]:
    content = files(__package__).joinpath("page", name).read_bytes()
    return lambda: Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _decode(upload: Upload, size: int) -> DecodedUpload | BadImageError:
    stream = io.BytesIO(upload.content)
    stream.name = upload.name
    try:
        image = decode_image(stream, max_pixels=MAX_PIXELS)
    except BadImageError as error:
        return error
    return DecodedUpload(resized(image, size), np.asarray(fitted(image, PICTURE_EDGE)))


def _explained(maps: MapsOf, pictures: Sequence[DecodedUpload]) -> list[str]:
    """Pictures with their maps over them, as data URLs."""
    found = maps(np.stack([picture.square for picture in pictures]))
    urls = []
    for picture, weights in zip(pictures, found, strict=True):
        content = io.BytesIO()
        Image.fromarray(overlay(picture.small, weights)).save(content, "JPEG", quality=85)
        urls.append(f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}")
    return urls


def _answer(
    upload: Upload,
    item: DecodedUpload | BadImageError,
    rows: Any,
    pictures: Any,
    names: Sequence[str],
    top: int,
) -> dict[str, Any]:
    if isinstance(item, BadImageError):
        return {"file": upload.name, "error": str(item)}
    classes = [{"class": name, "probability": p} for name, p in most_probable(next(rows), names, top)]
    picture = next(pictures)
    return {"file": upload.name, "classes": classes} | ({"explanation": picture} if picture else {})
