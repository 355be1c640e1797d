"""Compare training steps with plain Keras in images per second: forward, backward and update, same batch and size.

    python -m benchmarks.throughput [MODEL...]

Plain Keras is the network as in a script (`benchmarks.plain`), compiled with Adam, in a process with TensorFlow's
default flags, on float arrays in memory. Ours is what `train` does with the recipe ``article``, which has the same
network and optimizer, in a process that the library has configured, on batches of its pipeline. If PyTorch is installed
(`make test-torch` installs it), another process trains the network with it (`benchmarks.pytorch`). Another multiplies
float32 matrices, which gives the machine's peak. If the CPU has bfloat16 instructions, a further process does what ours
does in that precision. Each measures once per round, while the others wait.

Each kind of CPU has its own file, ``results/throughput/<processor>.json``.

A step is counted as three times the MACs of the forward pass, with two operations each.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from cnn_registry import backend

from .common import (
    DEFAULT_FLAGS,
    RESULTS,
    Facts,
    Worker,
    begin,
    in_turn,
    load,
    model_record,
    processor,
    random_pixels,
    save,
    serve,
)

SIZES = (96, 128, 224)
STEPS = {"alexnet": {96: 6, 128: 4, 224: 2}, "vgg16": {96: 2, 128: 1, 224: 1}, "inception_v2": {96: 6, 128: 4, 224: 2}}
"""Steps per measurement, which take some seconds on two cores."""

MATRIX = 3072
"""Edge length of the matrices for the peak."""


def batch_size(model: str, size: int) -> int:
    """Images per step: 32 if memory allows."""
    return 16 if (model, size) == ("vgg16", 224) else 32


def plain_side(model: str, size: int) -> None:
    """Steps of a script without the library."""
    from . import plain

    x, y = _arrays(model, size)
    network = plain.compiled(model, size)
    _serve_steps(model, size, lambda: network.train_on_batch(x, y), {"parameters": network.count_params()})


def pytorch_side(model: str, size: int) -> None:
    """Steps of a script with PyTorch."""
    from . import pytorch

    take, parameters = pytorch.step(model, size, *_arrays(model, size))
    _serve_steps(model, size, take, {"parameters": parameters})


def _arrays(model: str, size: int) -> tuple[Any, Any]:
    """A batch of images with pixels from 0 to 1, and its labels, in memory."""
    batch = batch_size(model, size)
    images = random_pixels(batch, size)
    return images.source.read(np.arange(batch)) / np.float32(255), images.dataset.labels


def our_side(model: str, size: int, precision: str = "float32") -> None:
    """Steps of `train`."""
    from cnn_registry import get_spec
    from cnn_registry.data.pipeline.batches import training_batches
    from cnn_registry.networks.graph import cost
    from cnn_registry.training.network import build_trainable
    from cnn_registry.workflows.plan import chosen_recipe

    batch = batch_size(model, size)
    images, spec = random_pixels(batch, size), get_spec(model)
    recipe = chosen_recipe(spec, "article", {"batch_size": batch, "precision": precision}).recipe
    network = build_trainable(spec, model_record(spec, size, recipe.model), recipe, batch).model
    batches = training_batches(
        images,
        np.arange(batch),
        batch_size=batch,
        epochs=10_000,
        seed=0,
        augmentation=recipe.augmentation,
        pixels=recipe.pixels,
    )
    facts = {"parameters": network.count_params(), "macs": cost(network).macs}
    drawn = iter(batches)
    _serve_steps(model, size, lambda: network.train_on_batch(*next(drawn)), facts)


def _serve_steps(model: str, size: int, step: Callable[[], Any], facts: Facts) -> None:
    """Warm up, then time some steps on each request."""
    batch, steps = batch_size(model, size), STEPS[model][size]

    def measure() -> Facts:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        return {"images_per_second": batch * steps / (time.perf_counter() - began)}

    for _ in range(2):
        step()
    serve(facts, measure)


def peak_side() -> None:
    """Products of float32 matrices, on all cores."""
    tf = backend.tensorflow()
    left, right = (tf.random.stateless_uniform((MATRIX, MATRIX), (0, number)) for number in range(2))
    multiply = tf.function(lambda: tf.matmul(left, right))

    def measure() -> Facts:
        speeds = []
        for _ in range(6):
            began = time.perf_counter()
            multiply().numpy()
            speeds.append(2 * MATRIX**3 / (time.perf_counter() - began))
        return {"flops": max(speeds)}

    measure()
    serve({}, measure)


def cell(model: str, size: int, rounds: int) -> Facts:
    """Measure one network at one size."""
    script = "benchmarks.throughput"
    workers = {
        "plain": Worker(script, model, "--size", size, "--side", "plain", variables=DEFAULT_FLAGS),
        "ours": Worker(script, model, "--size", size, "--side", "ours"),
        "peak": Worker(script, "--side", "peak"),
    }
    if backend.computes_bfloat16():
        workers["bfloat16"] = Worker(script, model, "--size", size, "--side", "bfloat16")
    if importlib.util.find_spec("torch"):
        workers["pytorch"] = Worker(script, model, "--size", size, "--side", "pytorch")
    macs = workers["ours"].ready["macs"]
    assert len({worker.ready["parameters"] for side, worker in workers.items() if side != "peak"}) == 1
    measured = in_turn(workers, rounds)
    ours, plain = ([facts["images_per_second"] for facts in measured[side]] for side in ("ours", "plain"))
    peak = max(facts["flops"] for facts in measured["peak"])
    return {
        "model": model,
        "size": size,
        "batch_size": batch_size(model, size),
        "steps": STEPS[model][size],
        "macs": macs,
        "plain": plain,
        "ours": ours,
        **{side: [facts["images_per_second"] for facts in measured.get(side, [])] for side in ("pytorch", "bfloat16")},
        "ratio": float(np.median(np.divide(ours, plain))),
        "peak_flops": peak,
        "flags": {side: workers[side].ready["flags"] for side in ("plain", "ours")},
        "share_of_peak": 3 * 2 * macs * max(ours) / peak,
    }


def results_name() -> str:
    """The name of the results for this machine's CPU."""
    return f"throughput/{re.sub('[^a-z0-9]+', '-', processor().lower())}"


def earlier() -> dict[tuple[str, int], Facts]:
    """The cells that earlier calls measured, by model and size."""
    path = RESULTS / f"{results_name()}.json"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    return {(cell["model"], cell["size"]): cell for cell in cells}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"any of {', '.join(STEPS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=4, help="alternating measurements of each side (default: 4)")
    parser.add_argument("--size", type=int, choices=SIZES, help="only this image size (default: all)")
    parser.add_argument("--side", choices=["plain", "ours", "bfloat16", "pytorch", "peak"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.models) - STEPS.keys():
        parser.error(f"unknown model {', '.join(sorted(unknown))}; choose from {', '.join(STEPS)}")
    if asked.side == "peak":
        peak_side()
    elif asked.side:
        sides: dict[str, Callable[[str, int], None]] = {
            "plain": plain_side,
            "ours": our_side,
            "pytorch": pytorch_side,
            "bfloat16": partial(our_side, precision="bfloat16"),
        }
        sides[asked.side](asked.models[0], asked.size)
    else:
        facts, cells = begin(), earlier()
        if importlib.util.find_spec("torch"):
            facts["versions"]["torch"] = importlib.metadata.version("torch")
        for model in asked.models or STEPS:
            for size in [asked.size] if asked.size else SIZES:
                before, measured = load(), cell(model, size, asked.rounds)
                facts["flags"] = measured.pop("flags")
                loads = {"start": before, "end": load()}
                cells[model, size] = measured | {"command": facts["command"], "load_average": loads}
                print(json.dumps(cells[model, size]), file=sys.stderr)
                in_order = [cells[key] for key in itertools.product(STEPS, SIZES) if key in cells]
                save(results_name(), facts | {"cells": in_order})


if __name__ == "__main__":
    main()
