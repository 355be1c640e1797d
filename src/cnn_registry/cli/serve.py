"""``cnnreg serve``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cnn_registry.errors import CnnRegistryError
from cnn_registry.system.extras import need
from cnn_registry.system.progress import note, working

from .common import common_options, force_option, runtime_option
from .output import tell

if TYPE_CHECKING:
    from cnn_registry.inference.predictor import Predictor, Runtime
    from cnn_registry.serve.service import MapsOf, Served

DISTRIBUTIONS = {"fastapi": "FastAPI", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


@click.command("serve")
@click.argument("run", metavar="RUN")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "--weights",
    default="best",
    show_default=True,
    help="Weights to use: 'best' epoch, by validation loss unless the recipe says otherwise, or 'last' epoch; for a "
    "model, published ones.",
)
@runtime_option
@force_option
@common_options
def command(run: str, host: str, port: int, weights: str, runtime: Runtime, force: bool) -> None:
    """Serve a trained model as a page to drop pictures on, and as a JSON API.

    RUN is a run directory, that of a cross-validation, hf://USER/NAME, or a model's name with published --weights. The
    API has POST /predict, GET /health, /labels and /openapi.json.
    """
    need("The server", *DISTRIBUTIONS, extra="serve", distributions=DISTRIBUTIONS)
    from cnn_registry.inference.predict import find_predictor
    from cnn_registry.serve.access import is_loopback
    from cnn_registry.serve.app import make_app
    from cnn_registry.serve.server import listen, make_server

    predictor = find_predictor(run, weights, force=force, runtime=runtime)
    with listen(host, port) as listener:  # before the network is loaded, which takes seconds
        address, bound, *_ = listener.getsockname()
        local = is_loopback(address)
        app = make_app(_served(run, weights, force, predictor), hosts={"localhost", host.lower()} if local else None)
        shown = f"[{host}]" if ":" in host else host
        tell(f"Serving {run} at http://{shown}:{bound} (Ctrl-C stops it)", wrap=False)
        if not local:
            note("There is no login: whoever reaches this address can use the model.")
        make_server(app).run(sockets=[listener])


@working("Loading the model")
def _served(run: str, weights: str, force: bool, predictor: Predictor) -> Served:
    """The model, loaded and tried, so that the first request does not wait."""
    import numpy as np

    from cnn_registry.serve.service import Served

    predictor(np.zeros((1, *predictor.form.shape), np.uint8))
    _ = predictor.class_names  # published ones are fetched
    return Served(_title(run), predictor, _maps(run, weights, force))


def _title(run: str) -> str:
    from cnn_registry.runs.run import Run, local_run

    path = local_run(run)
    if not (path / "run.json").exists():
        return path.name
    record = Run.open(path).record
    return f"{record.model.spec['name']} on {record.data.name}"


def _maps(run: str, weights: str, force: bool) -> MapsOf | None:
    """Grad-CAM of a run; a note says why there is none."""
    from cnn_registry.explain import GradCam
    from cnn_registry.runs.run import Run, local_run

    path = local_run(run)
    if not (path / "run.json").exists():
        note("The page does not explain its classes: only the model of a single run is explained.")
        return None
    try:
        cam = GradCam.of_run(Run.open(path), weights="best" if weights == "best" else "last", force=force)
    except CnnRegistryError as error:
        note(f"The page does not explain its classes: {error}")
        return None
    return lambda squares: cam(squares).maps
