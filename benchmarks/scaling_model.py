"""A model of the time of a training step on several workers: measured on throttled links, then carried to many workers.

    python -m benchmarks.scaling_model                     # the tables of docs/scaling.md
    python -m benchmarks.scaling_model --measure           # predicted and measured, in network namespaces (as root)

A step takes the longer of two times: of the input, and of computing a worker's images with the exchanges. The
gradients go around a ring of W workers in two passes, so that each worker sends ``2 (W - 1) / W`` times their bytes
in ``2 (W - 1)`` messages (Patarasuk & Yuan 2009, https://doi.org/10.1016/j.jpdc.2008.09.002, section 3). Smaller
exchanges, of outputs, of labels and of each batch normalisation's statistics, cost messages only.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos import only_run
from benchmarks.chaos_workers import network, started
from cnn_registry.runs.history import read_history
from cnn_registry.runs.machine import machine, versions

RESULT = Path(__file__).parent / "results" / "scaling_model.json"

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
    exchanges = 2 + (2 * net.normalizations if synchronised else 0)
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


def measured(workers: int, rate: str | None, batch_size: int) -> float:
    """Seconds of a step of LeNet-5 on digits, without the first epoch, in which steps are traced."""
    command = [sys.executable, "-m", "cnn_registry", "train", "lenet5", "--dataset", "digits", "--distribute"]
    command += ["multiworker" if workers > 1 else "none", "--epochs", "3", "--batch-size", str(batch_size)]
    with tempfile.TemporaryDirectory() as name, network(workers, rate) as where:
        if rate and not where.names:
            raise SystemExit("Links can only be throttled in network namespaces.")
        out = Path(name) / "runs"
        processes = started(where, workers, command, out, 25000)
        if max(process.wait() for process in processes):
            raise SystemExit((Path(name) / "log-0").read_text())
        run = only_run(out)
        steps = -(-len(run.record.split.train) // batch_size)
        return min(row.seconds for row in read_history(run.history_csv)[1:]) / steps


def compare(cases: list[tuple[int, int]], batch_size: int) -> list[dict[str, float]]:
    """Predicted and measured seconds of a step, for pairs of workers and of Mbit/s.

    What a step costs beside the images and the link is taken from two workers on links that are not throttled.
    """
    alone, cores = measured(1, None, batch_size), machine()["cpus"]
    together = measured(2, None, batch_size)
    free = Step(alone / batch_size, together - alone / 2, 4 * 61_706, 2, 1e12, 0.0)
    rows = []
    for workers, megabits in cases:
        crowded = max(1.0, workers / cores)
        step = replace(free, bits_per_second=1e6 * megabits, image_seconds=free.image_seconds * crowded)
        step = replace(step, fixed_seconds=free.fixed_seconds * crowded)
        found = measured(workers, f"{megabits}mbit", batch_size)
        predicted = step.seconds(workers, batch_size / workers)
        rows.append({"workers": workers, "mbit": megabits, "predicted": predicted, "measured": found})
        print(rows[-1], flush=True)
    return [{"workers": 1, "measured": alone}, {"workers": 2, "measured": together}, *rows]


def main() -> None:
    """Print the tables, or measure and write ``benchmarks/results/scaling_model.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    if not arguments.measure:
        print(tables())
        return
    rows = compare([(2, 10), (2, 30), (2, 100), (3, 30), (4, 30)], arguments.batch_size)
    result = {"command": " ".join(sys.argv), "versions": versions(), "machine": machine(), "steps": rows}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
