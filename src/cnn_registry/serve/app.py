"""The application: a page, and a JSON API beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from cnn_registry.text import printable

from .access import refusal
from .answers import Health, Labels, PredictAnswer, PredictParameters, Problem
from .limits import Allowance, Limits
from .service import Served, Service, UnreadableError
from .uploads import FIELDS, read_uploads

PAGE = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "There is no picture in the request"},
    403: {"model": Problem, "description": "The request comes from a page of another site"},
    408: {"model": Problem, "description": "The request did not arrive in time"},
    413: {"model": Problem, "description": "The request is too large"},
    422: {"model": Problem, "description": "Not one picture can be read, or a parameter is wrong"},
    503: {"model": Problem, "description": "The server is busy"},
}


def make_app(
    served: Served, *, hosts: Collection[str] | None = ("localhost",), limits: Limits | None = None
) -> FastAPI:
    """The ASGI application for a model. Nothing is written to disk.

    Args:
        served: the model.
        hosts: names by which the server may be called, besides loopback addresses; ``None`` for any, which is right
            where other machines reach it.
        limits: how much it takes on; default ``Limits()``.
    """
    limits = limits or Limits()
    service = Service(served, limits.pixels)
    requests, pictures, held = Allowance(limits.requests), Allowance(limits.pictures), Allowance(limits.bytes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.end()

    app = FastAPI(
        title=served.title,
        description="Classifies pictures. Errors are {'detail': one line}.",
        version="1",
        lifespan=lifespan,
        docs_url=None,  # it would be fetched from elsewhere
        redoc_url=None,
    )

    @app.middleware("http")
    async def guard(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        reason = refusal(request, hosts)
        response = JSONResponse({"detail": reason}, 403) if reason else await follow(request)
        response.headers.update(HEADERS)
        return response

    app.add_exception_handler(RequestValidationError, _say_what_is_wrong)
    app.add_exception_handler(Exception, _say_that_it_failed)
    for path, (name, kind) in PAGE.items():
        app.add_api_route(path, _static(name, kind), include_in_schema=False)

    @app.get("/health", summary="Whether the model answers")
    async def health() -> Health:
        names = served.predictor.class_names
        return Health(status="ok", model=served.title, classes=len(names), explains=served.maps is not None)

    @app.get("/labels", summary="The classes, in the order of the model's outputs")
    async def labels() -> Labels:
        return Labels(labels=list(served.predictor.class_names))

    @app.post(
        "/predict",
        summary="The most probable classes of one or more pictures",
        responses=PROBLEMS,
        response_model_exclude_none=True,
        openapi_extra=_body(limits),
    )
    async def predict(request: Request, asked: Annotated[PredictParameters, Query()]) -> PredictAnswer:
        if asked.explain and served.maps is None:
            raise HTTPException(422, "explain: this model is served without explanations; leave it out.")
        with requests.share() as enter, pictures.share() as take, held.share() as hold:
            enter(1)
            uploads = await read_uploads(request, limits, hold)
            take(len(uploads))
            try:
                return PredictAnswer(predictions=await service.predict(uploads, top=asked.top, explain=asked.explain))
            except UnreadableError as error:
                raise HTTPException(422, str(error)) from error

    return app


def _static(name: str, kind: str) -> Callable[[], Response]:
    content = files(__package__).joinpath("page", name).read_bytes()
    return lambda: Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


def _body(limits: Limits) -> dict[str, Any]:
    """What OpenAPI says of the pictures in a request, which are read without FastAPI."""
    picture = {"type": "string", "format": "binary"}
    field = {"type": "array", "maxItems": limits.request_files, "items": picture}
    form = {"schema": {"type": "object", "properties": dict.fromkeys(FIELDS, field)}}
    content = {"multipart/form-data": form, "image/*": {"schema": picture}}
    return {"requestBody": {"required": True, "content": content}}


async def _say_what_is_wrong(_: Request, error: Exception) -> Response:
    """One line for parameters that are unknown or out of bounds."""
    assert isinstance(error, RequestValidationError)
    lines = [f"{fault['loc'][-1]}: {fault['msg']}; got {fault['input']!r:.40}" for fault in error.errors()]
    return JSONResponse({"detail": printable(f"{'; '.join(lines[:3])}.")}, 422)


async def _say_that_it_failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": "The server failed; its log says why."}, 500)
