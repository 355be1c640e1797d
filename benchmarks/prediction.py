"""Compare evaluation with `model.predict` of plain Keras, and measure the gain from folding batch normalisation.

    python -m benchmarks.prediction

Plain Keras is the network with `predict` on float arrays, in a process with TensorFlow's default flags. Folded is what
``cnnreg evaluate`` does: `evaluate_model` with the library's pipeline, after `fold_batch_norm`. Ours is the same
without folding. CPU time is also measured, because other load on the machine affects it less.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np

from .common import CLASSES, DEFAULT_FLAGS, Facts, Worker, begin, in_turn, median, random_pixels, save, serve, timed

BATCH, IMAGES = 32, 128

CELLS = (("inception_v2", 128), ("resnet18", 128), ("alexnet", 128), ("inception_v2", 224))

PLAIN = {**DEFAULT_FLAGS, "KERAS_BACKEND": "tensorflow"}

SIDES = ("plain", "ours", "folded")


def side(name: str, model: str, size: int) -> None:
    """Prepare, then predict `IMAGES` images on each request."""
    from cnn_registry import create_model
    from cnn_registry.inference.evaluate import evaluate_model
    from cnn_registry.networks.folding import fold_batch_norm

    if name == "plain":
        import tensorflow  # noqa: F401  (by itself, so that it is as in a script without the library)
    images = random_pixels(IMAGES, size)
    floats = images.source.read(np.arange(IMAGES)) / np.float32(255)
    network = create_model(model, num_classes=CLASSES, input_shape=(size, size, 3))
    began, layers = time.process_time(), len(network.layers)
    if name == "folded":
        network = fold_batch_norm(network)
    folding = {"folding_cpu": time.process_time() - began, "layers_folded": layers - len(network.layers)}

    def plain() -> object:
        return network.predict(floats, batch_size=BATCH, verbose=0)

    def ours() -> object:
        return evaluate_model(network, images, np.arange(IMAGES), pixels="unit", batch_size=BATCH, part="")

    work = plain if name == "plain" else ours
    first = timed(work)
    serve(folding | {"first_cpu": first["cpu"]}, lambda: _measured(work))


def _measured(work: Callable[[], object]) -> Facts:
    took = timed(work)
    return took | {
        "images_per_second": IMAGES / took["seconds"],
        "images_per_cpu_second": IMAGES / took["cpu"],
    }


def cell(model: str, size: int, rounds: int) -> Facts:
    """Measure one network at one size."""
    workers = {
        name: Worker("benchmarks.prediction", "--side", name, model, size, variables=PLAIN if name == "plain" else {})
        for name in SIDES
    }
    measured = in_turn(workers, rounds)
    facts: Facts = {"model": model, "size": size, "batch_size": BATCH, "images": IMAGES}
    for name in SIDES:
        facts[name] = [round(row["images_per_second"], 2) for row in measured[name]]
        facts[f"{name}_per_cpu_second"] = [round(row["images_per_cpu_second"], 2) for row in measured[name]]
    folded, ours = (median(measured[name], "cpu") / IMAGES for name in ("folded", "ours"))
    # The cost of folding before the first image, which is building and tracing another graph, against what it saves.
    ready = {name: sum(workers[name].ready[what] for what in ("folding_cpu", "first_cpu")) for name in SIDES}
    costs, saves = ready["folded"] - ready["ours"], ours - folded
    return facts | {
        "flags": {name: worker.ready["flags"] for name, worker in workers.items()},
        "ratio": float(np.median(np.divide(facts["ours"], facts["plain"]))),
        "ratio_cpu": float(np.median(np.divide(facts["ours_per_cpu_second"], facts["plain_per_cpu_second"]))),
        "folded_ratio_cpu": float(np.median(np.divide(facts["folded_per_cpu_second"], facts["ours_per_cpu_second"]))),
        "layers_folded": workers["folded"].ready["layers_folded"],
        "folding_cpu_seconds": costs,
        "folding_pays_after_images": round(costs / saves) if saves > 0 else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("size", nargs="?", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="alternating measurements of each side (default: 5)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        side(asked.side, asked.model, asked.size)
        return
    facts: Facts = begin() | {"cells": []}
    for model, size in CELLS:
        facts["cells"].append(cell(model, size, asked.rounds))
        facts["flags"] = facts["cells"][-1].pop("flags")
        print(json.dumps(facts["cells"][-1]), file=sys.stderr)
        save("prediction", facts)


if __name__ == "__main__":
    main()
