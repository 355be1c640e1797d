"""Compare training steps with plain Keras, PyTorch and JAX: images per second, forward, backward and update.

    python -m benchmarks.throughput [MODEL...]

Everyone trains the same network on the same batch, with Adam, in a process of its own:

- *plain*: the network as in a script (`benchmarks.plain`), with TensorFlow's default flags, on float arrays in memory;
- *jax*: the same script with Keras on JAX;
- *pytorch*: the network in PyTorch (`benchmarks.pytorch`), if it is installed (`make test-torch` installs it), and
  *pytorch-compiled* with ``torch.compile`` if ``--compile`` asks for it: it takes minutes to start, and a C++ compiler;
- *ours*: what `train` does with the recipe ``article``, which has the same network and optimizer, on batches of its
  pipeline.

If the CPU has bfloat16 instructions, they all take their steps in that precision as well: Keras under the policy
``mixed_bfloat16``, PyTorch under its autocast, ours with ``precision = bfloat16``. Keras on JAX is left out there, as
XLA's compiler for CPUs has no fast convolutions in it. Sides of one precision take turns, each measuring once per round
while the others wait. A further process multiplies float32 matrices, which gives the machine's peak.

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
from collections.abc import Callable, Mapping, Sequence
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
    our_network,
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


def plain_side(model: str, size: int, precision: str) -> None:
    """Steps of a script without the library, with Keras on the backend of ``KERAS_BACKEND``."""
    import keras

    from . import plain

    if precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    x, y = _arrays(model, size)
    network = plain.compiled(model, size)
    _serve_steps(model, size, lambda: network.train_on_batch(x, y), {"parameters": network.count_params()})


def pytorch_side(model: str, size: int, precision: str, *, compiled: bool = False) -> None:
    """Steps of a script with PyTorch."""
    from . import pytorch

    arrays = _arrays(model, size)
    take, parameters = pytorch.step(model, size, *arrays, bfloat16=precision == "bfloat16", compiled=compiled)
    _serve_steps(model, size, take, {"parameters": parameters})


def _arrays(model: str, size: int) -> tuple[Any, Any]:
    """A batch of images with pixels from 0 to 1, and its labels, in memory."""
    batch = batch_size(model, size)
    images = random_pixels(batch, size)
    return images.source.read(np.arange(batch)) / np.float32(255), images.dataset.labels


def our_side(model: str, size: int, precision: str) -> None:
    """Steps of `train`."""
    from cnn_registry import get_spec
    from cnn_registry.data.pipeline.batches import training_batches
    from cnn_registry.networks.graph import cost
    from cnn_registry.workflows.plan import chosen_recipe

    batch = batch_size(model, size)
    images, spec = random_pixels(batch, size), get_spec(model)
    recipe = chosen_recipe(spec, "article", {"batch_size": batch, "precision": precision}).recipe
    network = our_network(spec, model_record(spec, size, recipe.model), recipe, batch)
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


COMPILED = "pytorch-compiled"

SIDES: Mapping[str, Callable[[str, int, str], None]] = {
    "plain": plain_side,
    "jax": plain_side,
    "pytorch": pytorch_side,
    COMPILED: partial(pytorch_side, compiled=True),
    "ours": our_side,
}

VARIABLES = {"plain": DEFAULT_FLAGS, "jax": {**DEFAULT_FLAGS, "KERAS_BACKEND": "jax"}}
"""Environment variables of sides that are not as the library sets them."""

SHORT = "-bfloat16"
"""At the end of the names of sides that compute in bfloat16."""


def installed_sides(*, compiled: bool) -> list[str]:
    """The sides that can be measured here, in one precision."""
    torch = importlib.util.find_spec("torch") is not None
    found = {"jax": importlib.util.find_spec("jax") is not None, "pytorch": torch, COMPILED: torch and compiled}
    return [side for side in SIDES if found.get(side, True)]


def cell(model: str, size: int, rounds: int, *, compiled: bool) -> Facts:
    """Measure one network at one size: first in float32, then in bfloat16 where the CPU has instructions for it."""
    single = installed_sides(compiled=compiled)
    measured, flags, macs = _measured(model, size, rounds, ["peak", *single])
    if backend.computes_bfloat16():
        measured |= _measured(model, size, rounds, [side + SHORT for side in single if side != "jax"])[0]
    peak = max(facts["flops"] for facts in measured.pop("peak"))
    speeds = {side: [facts["images_per_second"] for facts in found] for side, found in measured.items()}
    return {
        "model": model,
        "size": size,
        "batch_size": batch_size(model, size),
        "steps": STEPS[model][size],
        "macs": macs,
        "speeds": speeds,
        "peak_flops": peak,
        "flags": flags,
        "share_of_peak": 3 * 2 * macs * max(speeds["ours"]) / peak,
    }


def _measured(model: str, size: int, rounds: int, sides: Sequence[str]) -> tuple[dict[str, list[Facts]], Facts, int]:
    """The measurements of sides that take turns, the flags of plain Keras and of ours, and the MACs of the network."""
    workers = {side: _worker(model, size, side) for side in sides}
    assert len({worker.ready["parameters"] for side, worker in workers.items() if side != "peak"}) == 1
    flags = {side: worker.ready["flags"] for side, worker in workers.items() if side in ("plain", "ours")}
    (ours,) = (worker for side, worker in workers.items() if side.startswith("ours"))
    return in_turn(workers, rounds), flags, ours.ready["macs"]


def _worker(model: str, size: int, side: str) -> Worker:
    """A process that measures one side."""
    network = () if side == "peak" else (model, "--size", size)
    return Worker("benchmarks.throughput", *network, "--side", side, variables=VARIABLES.get(side.removesuffix(SHORT)))


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
    parser.add_argument("--compile", action="store_true", help="also PyTorch with torch.compile, which starts slowly")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.models) - STEPS.keys():
        parser.error(f"unknown model {', '.join(sorted(unknown))}; choose from {', '.join(STEPS)}")
    if asked.side == "peak":
        peak_side()
    elif asked.side:
        name = asked.side.removesuffix(SHORT)
        SIDES[name](asked.models[0], asked.size, "float32" if name == asked.side else "bfloat16")
    else:
        facts, cells = begin(), earlier()
        if importlib.util.find_spec("torch"):
            facts["versions"]["torch"] = importlib.metadata.version("torch")
        for model in asked.models or STEPS:
            for size in [asked.size] if asked.size else SIZES:
                before, measured = load(), cell(model, size, asked.rounds, compiled=asked.compile)
                facts["flags"] = measured.pop("flags")
                loads = {"start": before, "end": load()}
                cells[model, size] = measured | {"command": facts["command"], "load_average": loads}
                print(json.dumps(cells[model, size]), file=sys.stderr)
                in_order = [cells[key] for key in itertools.product(STEPS, SIZES) if key in cells]
                save(results_name(), facts | {"cells": in_order})


if __name__ == "__main__":
    main()
