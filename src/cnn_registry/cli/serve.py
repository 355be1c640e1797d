"""``cnnreg serve``."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

import click

from cnn_registry.errors import CnnRegistryError, MissingPackageError, UsageError
from cnn_registry.system.progress import note

from .common import common_options, force_option
from .output import tell

if TYPE_CHECKING:
    from cnn_registry.inference.predictor import Predictor
    from cnn_registry.serve.app import MapsOf, Served

BACKLOG = 512
"""Connections that may wait to be accepted."""

SECONDS = 5
"""For requests that are being answered when the server is stopped."""


@click.command("serve")
@click.argument("run", metavar="RUN")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--weights",
    default="best",
    show_default=True,
    help="Weights to use: 'best' epoch by validation loss, or 'last' epoch; for a model, published ones.",
)
@force_option
@common_options
def command(run: str, host: str, port: int, weights: str, force: bool) -> None:
    """Serve a trained model as a page to drop pictures on, and as a JSON API.

    RUN is a run directory, that of a cross-validation, or a model's name with published --weights. The API has POST
    /predict, GET /health, /labels and /openapi.json.
    """
    try:
        import uvicorn

        from cnn_registry.serve.app import make_app
    except ImportError as error:
        raise MissingPackageError("The server", ["FastAPI", "uvicorn", "python-multipart"], "serve") from error
    from cnn_registry.inference.predict import find_predictor

    predictor = find_predictor(run, weights, force=force)
    with _listening(host, port) as listener:
        app = make_app(_served(run, weights, force, predictor))
        where = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        tell(f"Serving {run} at http://{shown}:{where} (Ctrl-C stops it)", wrap=False)
        if not _is_local(host):
            note("There is no login: whoever reaches this address can use the model.")
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, ws="none", backlog=BACKLOG, timeout_graceful_shutdown=SECONDS
        )
        uvicorn.Server(config).run(sockets=[listener])


def _served(run: str, weights: str, force: bool, predictor: Predictor) -> Served:
    """The model, loaded and tried, so that the first request does not wait."""
    import numpy as np

    from cnn_registry.serve.app import Served

    predictor(np.zeros((1, predictor.size, predictor.size, 3), np.uint8))
    return Served(_title(run), predictor, _maps(run, weights, force))


def _title(run: str) -> str:
    from pathlib import Path

    from cnn_registry.runs.run import Run

    if not (Path(run) / "run.json").exists():
        return Path(run).name
    record = Run.open(Path(run)).record
    return f"{record.model.spec['name']} on {record.data.name}"


def _maps(run: str, weights: str, force: bool) -> MapsOf | None:
    """Grad-CAM of a run; a note says why there is none."""
    from pathlib import Path

    from cnn_registry.explain import GradCam
    from cnn_registry.runs.run import Run

    if not (Path(run) / "run.json").exists():
        return None
    try:
        cam = GradCam.of_run(Run.open(Path(run)), weights="best" if weights == "best" else "last", force=force)
    except CnnRegistryError as error:
        note(f"The page does not explain its classes: {error}")
        return None
    return lambda squares: cam(squares).maps


def _listening(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        UsageError: there is no such address, or it is taken.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # whoever comes before the network is loaded waits
    except OSError as error:
        if listener:
            listener.close()
        raise UsageError(f"{host}, port {port} cannot be listened at: {error.strerror or error}.") from error
    return listener


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
