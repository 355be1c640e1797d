"""A model of the time of a training step on several workers: measured on throttled links, then carried to many workers.

    python -m benchmarks.scaling_model                     # the tables of docs/scaling.md
    python -m benchmarks.scaling_model --measure           # predicted and measured, in network namespaces (as root)

A step takes the longer of two times: of the input, and of computing a worker's images with the exchanges. The
gradients go around a ring of W workers in two passes, so that each worker sends ``2 (W - 1) / W`` times their bytes
in ``2 (W - 1)`` messages (Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002, section 3). Smaller
exchanges cost messages only: of outputs, of labels, of a vote on whether to stop, and of statistics, twice for each
synchronised batch normalisation or once for all that are not.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.common import begin, save
from benchmarks.namespaces import network, started

WORKERS = (8, 32, 128, 512, 1024)

OVERHEAD = 40
"""Bytes of headers in a packet of 1,500: what a link carries is less than its rate."""


@dataclass(frozen=True)
class Network:
    """What the time of a step depends on.

    Attributes:
        name: of the model.
        parameters: trainable weights; their gradients have 4 bytes each.
        gmacs: multiply-adds for an image, in units of 1e9; with the gradients, a step takes three times as many.
        normalizations: batch normalisations, each of which exchanges statistics twice in a step.
    """

    name: str
    parameters: float
    gmacs: float
    normalizations: int


@dataclass(frozen=True)
class Worker:
    """A worker and its link.

    Attributes:
        name: for tables.
        flops: operations a second that it reaches in training.
        gigabits: a second, of its link in each direction.
        latency: seconds of one message.
        images: of one worker in a step.
        tree: whether small exchanges go along a tree, as NCCL's do, and not around the ring, as TensorFlow's own.
    """

    name: str
    flops: float
    gigabits: float
    latency: float
    images: int
    tree: bool


KINDS = (
    Worker("32 CPU cores, 10 Gbit/s", 1e12, 10, 5e-5, 64, tree=False),
    Worker("GPU, 100 Gbit/s", 5e13, 100, 1e-5, 256, tree=True),
)
"""Assumed, not measured: replace them by your own."""

NETWORKS = (
    Network("AlexNet", 61.1e6, 0.71, 0),
    Network("VGG16", 138.4e6, 15.5, 0),
    Network("ResNet-50", 25.6e6, 4.1, 53),
    Network("BN-Inception", 11.3e6, 2.0, 69),
)
"""At 224 pixels and 1,000 classes, as ``cnnreg info`` counts them."""


@dataclass(frozen=True)
class Step:
    """The model of a step.

    Attributes:
        image_seconds: to compute one image, forwards and backwards.
        fixed_seconds: of a step, whatever its images.
        gradient_bytes: exchanged by all.
        exchanges: smaller ones.
        bits_per_second: of each worker's link, in each direction.
        latency: seconds of one message.
        input_seconds: of one image's decoding; 0 where it sets no limit.
        tree: see `Worker`.
    """

    image_seconds: float
    fixed_seconds: float
    gradient_bytes: float
    exchanges: int
    bits_per_second: float
    latency: float
    input_seconds: float = 0.0
    tree: bool = False

    def exchange_seconds(self, workers: int) -> float:
        """The seconds of all exchanges in a step."""
        if workers == 1:
            return 0.0
        passes = 2 * (workers - 1)
        rate = self.bits_per_second / 8 * (1 - OVERHEAD / 1500)
        small = 2 * math.ceil(math.log2(workers)) if self.tree else passes
        messages = passes + small * self.exchanges
        return passes / workers * self.gradient_bytes / rate + messages * self.latency

    def seconds(self, workers: int, images: float) -> float:
        """The seconds of a step.

        Args:
            workers: number of them.
            images: of each.
        """
        computed = self.fixed_seconds + images * self.image_seconds + self.exchange_seconds(workers)
        return max(computed, images * self.input_seconds)

    def efficiency(self, workers: int, images: float) -> float:
        """The images per second, as a share of so many times those of one worker."""
        return self.seconds(1, images) / self.seconds(workers, images)

    def checkpoint_seconds(self, bytes_per_second: float) -> float:
        """The seconds of writing weights and Adam's two moments, while all workers wait."""
        return 3 * self.gradient_bytes / bytes_per_second


def step_of(net: Network, worker: Worker, *, synchronised: bool = True) -> Step:
    """The step of a network on such workers."""
    normalizing = 2 * net.normalizations if synchronised else min(net.normalizations, 1)
    exchanges = 3 + normalizing  # outputs, labels, and the vote on whether to stop
    seconds, rate = 6e9 * net.gmacs / worker.flops, 1e9 * worker.gigabits
    return Step(seconds, 0.0, 4 * net.parameters, exchanges, rate, worker.latency, tree=worker.tree)


def tables() -> str:
    """The tables of ``docs/scaling.md``."""
    lines = []
    for worker in KINDS:
        lines += [f"\n{worker.name}, {worker.images} images for each worker:\n"]
        lines += ["| network | batch normalisation | " + " | ".join(f"{number:,}" for number in WORKERS)]
        lines[-1] += " | 80 % up to | images for 80 % of 1,024 |"
        lines += ["|---|---|" + "--:|" * (len(WORKERS) + 2)]
        for net in NETWORKS:
            for synchronised in (True, False) if net.normalizations else (False,):
                step = step_of(net, worker, synchronised=synchronised)
                kind = "none" if not net.normalizations else "of all" if synchronised else "of each"
                shares = " | ".join(f"{step.efficiency(number, worker.images):.0%}" for number in WORKERS)
                needed = round(4 * step.exchange_seconds(1024) / step.image_seconds)
                lines += [f"| {net.name} | {kind} | {shares} | {_reach(step, worker.images)} | {needed:,} |"]
    return "\n".join(lines)


def _reach(step: Step, images: int) -> str:
    reached = max(number for number in range(1, 2049) if step.efficiency(number, images) >= 0.8)
    return "over 2,048" if reached == 2048 else f"{reached:,}"


@dataclass(frozen=True)
class Case:
    """A training that is measured.

    Attributes:
        workers: number of them.
        megabits: a second, of each worker's link in each direction; ``None`` for links that are not throttled.
        parameters: of the network, about so many.
        normalizations: layers of batch normalisation in it.
        checkpoints: whether one is written after each step.
    """

    workers: int
    megabits: int | None = None
    parameters: float = 250e3
    normalizations: int = 0
    checkpoints: bool = False


Times = dict[str, list[float]]
"""The seconds of steps and of checkpoints."""


def side(case: Case, folder: Path) -> None:
    """Train a network with so many parameters, and write the seconds of its steps and checkpoints."""
    import keras

    import cnn_registry
    from cnn_registry.training.callbacks.checkpoint import CheckpointCallback

    def network(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
        layers = keras.layers
        inputs = keras.Input(input_shape)
        x = layers.Flatten()(inputs)
        for _ in range(case.normalizations):
            x = layers.BatchNormalization()(x)
        x = layers.Dense(round(case.parameters / 203), activation="relu")(x)  # of 192 values, for 10 classes
        return keras.Model(inputs, layers.Dense(num_classes, activation="softmax")(x))

    paper = cnn_registry.Paper(title="None", authors="None", year=2020, url="https://example.org")
    cnn_registry.register_model(
        family="link",
        summary="Much to send and little to compute",
        trainable_params=round(case.parameters),
        input_shape=(8, 8, 3),
        paper=paper,
    )(network)
    times: Times = {"steps": [], "checkpoints": []}
    save = CheckpointCallback._save

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no type information
        last = 0.0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.last = 0.0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            now = time.perf_counter()
            if self.last:
                times["steps"].append(now - self.last)
            self.last = now

    def timed(callback: CheckpointCallback) -> None:
        began = time.perf_counter()
        save(callback)
        times["checkpoints"].append(time.perf_counter() - began)

    settings = {
        "image_size": 8,
        "batch_size": 96,
        "epochs": 2,
        "precision": "float32",
        "optimizer.name": "adam",
        "ema": None,
    }
    with patch.object(CheckpointCallback, "_save", timed):
        run = cnn_registry.train(
            "network",
            dataset="digits",
            settings=settings,
            out=folder / "runs",
            report=False,
            callbacks=[Clock()],
            checkpoint_minutes=1e-9 if case.checkpoints else 60,
        )
    if run.writes:
        (folder / "times.json").write_text(json.dumps(times))


def measured(case: Case) -> Times:
    """The seconds of a training's steps and checkpoints."""
    rate = f"{case.megabits}mbit" if case.megabits else None
    with tempfile.TemporaryDirectory() as name, network(case.workers, rate) as where:
        if rate and not where.names:
            raise SystemExit("Links can only be throttled in network namespaces.")
        command = [sys.executable, "-m", "benchmarks.scaling_model", "--side", json.dumps(asdict(case)), name]
        processes = started(where, case.workers, command, Path(name), 25000)
        if max(process.wait() for process in processes):
            raise SystemExit((Path(name) / "log-0").read_text())
        times: Times = json.loads((Path(name) / "times.json").read_text())
    return times


def step_seconds(case: Case) -> float:
    """The median of a step."""
    return statistics.median(measured(case)["steps"])


THROTTLED = ((2, 20), (2, 50), (3, 20), (3, 50), (4, 20), (4, 50))
"""Workers, and Mbit/s of their links."""

NORMALIZED = 16
"""Layers of batch normalisation, from which the seconds of a message are taken."""

CHECKPOINTS = (1e6, 4e6, 16e6)
"""Parameters of networks of which checkpoints are written."""


def compare_steps() -> list[dict[str, Any]]:
    """Predicted and measured seconds of a step.

    The processors are shared by all workers here, so what a step computes is measured for each number of workers, on
    links that are not throttled. What throttled links and more exchanges add is predicted.
    """
    free = {number: step_seconds(Case(number)) for number in (1, 2, 3, 4)}
    rows: list[dict[str, Any]] = [asdict(Case(number)) | {"measured": found} for number, found in free.items()]

    def add(case: Case, predicted: float) -> float:
        found = step_seconds(case)
        rows.append(asdict(case) | {"predicted": predicted, "measured": found})
        print(rows[-1], flush=True)
        return found

    for number, megabits in THROTTLED:
        link = Step(0.0, free[number], 4 * Case(number).parameters, 0, 1e6 * megabits, 0.0)
        add(Case(number, megabits), link.seconds(number, 0))
    two = Case(2, normalizations=NORMALIZED)
    slower = step_seconds(two) - free[2]
    rows.append(asdict(two) | {"measured": free[2] + slower})
    for number in (3, 4):
        messages = replace(Step(0.0, free[number], 0.0, 0, 1e15, 1.0), exchanges=2 * NORMALIZED)
        times = (messages.exchange_seconds(number) - 2 * (number - 1)) / (messages.exchange_seconds(2) - 2)
        add(Case(number, normalizations=NORMALIZED), free[number] + times * slower)
    return rows


def compare_checkpoints() -> list[dict[str, Any]]:
    """Predicted and measured seconds of a checkpoint: a fixed part and a rate, both from the outer two sizes."""
    rows = [
        {
            "parameters": parameters,
            "measured": statistics.median(measured(Case(1, None, parameters, 0, True))["checkpoints"]),
        }
        for parameters in CHECKPOINTS
    ]
    small, _, large = rows
    each = (large["measured"] - small["measured"]) / (large["parameters"] - small["parameters"])
    for row in rows:
        row["predicted"] = small["measured"] + each * (row["parameters"] - small["parameters"])
        row["bytes_per_second"] = 12 / each
        print(row, flush=True)
    return rows


def main() -> None:
    """Print the tables, or measure and write ``benchmarks/results/scaling_model.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        side(Case(**json.loads(asked.side[0])), Path(asked.side[1]))
        return
    if not asked.measure:
        print(tables())
        return
    facts = begin() | {"steps": compare_steps(), "checkpoints": compare_checkpoints()}
    save("scaling_model", facts)


if __name__ == "__main__":
    main()
