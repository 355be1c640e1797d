"""Shared by the scripts: the conditions of a measurement, and processes that take turns.

Each script writes one JSON file into `RESULTS`, from which ``docs/make_results.py`` writes a page. Each side of a
comparison runs in its own process, because TensorFlow reads its flags when it is imported. The processes prepare, then
measure one after another, round by round, while the others wait. Other load on the machine therefore affects all of
them alike.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cnn_registry import backend
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.data.sources.memory import ArrayImages
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.machine import machine, versions
from cnn_registry.runs.record import ModelRecord
from cnn_registry.system.files import write_file
from cnn_registry.system.processors import CPUINFO

RESULTS = Path(__file__).parent / "results"

CLASSES = 17

RATES = {"alexnet": 1e-3, "vgg16": 1e-5, "inception_v2": 1e-5}
"""The networks that are also trained by scripts without the library, with Adam's learning rates for them."""

Widths = tuple[int, int]
"""Channels of a 1x1 convolution, and of the 3x3 convolutions after it."""

FLAGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "XLA_FLAGS")
"""Environment variables that change the behaviour of TensorFlow and Keras."""

DEFAULT_FLAGS: Mapping[str, str | None] = dict.fromkeys(FLAGS) | {"TF_CPP_MIN_LOG_LEVEL": "2"}
"""The defaults of these variables; only the log level differs, which costs nothing."""

Facts = dict[str, Any]


class Worker:
    """A process that prepares once, and then measures on request.

    Args:
        script: a module whose ``main`` ends in `serve`.
        *arguments: its arguments.
        variables: changes to this process's environment variables; ``None`` unsets one.
        python: the interpreter (default: that of this process).

    Attributes:
        ready: what it sent when it was ready.
    """

    def __init__(
        self,
        script: str,
        *arguments: object,
        variables: Mapping[str, str | None] | None = None,
        python: str = sys.executable,
    ) -> None:
        self._process = subprocess.Popen(
            [python, "-m", script, *map(str, arguments)],
            env=environment(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()

    def measure(self) -> Facts:
        """Measure once more."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process and free its memory."""
        self._process.communicate()

    def _answer(self) -> Facts:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A worker ended with code {self._process.wait()}; see above.")
        answer: Facts = json.loads(line)
        return answer


def serve(ready: Facts, measure: Callable[[], Facts]) -> None:
    """In a worker: send ``ready`` and the flags, then measure once for each line of standard input."""
    print(json.dumps(ready | {"flags": flags()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


class Side(Protocol):
    """What measures on request."""

    def measure(self) -> Facts:
        """Measure once more."""
        ...

    def close(self) -> None:
        """Free what it needs."""
        ...


def in_turn(workers: Mapping[str, Side], rounds: int) -> dict[str, list[Facts]]:
    """The measurements of the workers, each once per round: A B A B."""
    measured: dict[str, list[Facts]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            measured[name].append(worker.measure())
    for worker in workers.values():
        worker.close()
    return measured


def environment(variables: Mapping[str, str | None]) -> dict[str, str]:
    """This process's environment variables with some changes; ``None`` unsets one."""
    changed = {**os.environ, **variables}
    return {name: value for name, value in changed.items() if value is not None}


def begin(command: str = "") -> Facts:
    """The conditions of a measurement, recorded before it starts.

    Args:
        command: the command that produces it (default: the script as it was called).
    """
    return {
        "command": command or f"python -m benchmarks.{Path(sys.argv[0]).stem} {' '.join(sys.argv[1:])}".strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine() | {"processor": processor()},
        "versions": versions(),
        "flags": {"all": flags()},
        "load_average": {"start": load()},
    }


def flags() -> dict[str, str]:
    """The variables of `FLAGS` that are set in this process, by the user or by the library."""
    return {name: os.environ[name] for name in FLAGS if name in os.environ}


def save(name: str, facts: Facts) -> None:
    """Write ``<name>.json`` into `RESULTS` atomically, with the current load of the machine."""
    facts["load_average"]["end"] = load()
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1)
    # Put each list of figures on one line.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]", text)
    write_file(path, text + "\n")


def load() -> float:
    """The load average of the last minute, which includes the measurement itself."""
    return round(os.getloadavg()[0], 2)


def processor() -> str:
    """The CPU's name, its generation, which is missing in the name on some cloud machines, and its vector extension."""
    try:
        text = CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return str(machine()["processor"])
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    generation = f"family {found['cpu family']} model {found['model']}" if "cpu family" in found else ""
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in backend.cpu_flags()), "")
    return " ".join(part for part in (found.get("model name", ""), generation, widest) if part)


def random_pixels(count: int, size: int) -> LoadedImages:
    """``count`` random square images in memory, with random labels of `CLASSES` classes."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size, size, 3), np.uint8)
    return in_memory(pixels, random.integers(0, CLASSES, count))


def model_record(spec: ModelSpec, size: int, options: Mapping[str, Any]) -> ModelRecord:
    """The record of a model for square images and `CLASSES` classes, as `build_trainable` takes it."""
    return ModelRecord(spec=spec.to_dict(), options=dict(options), num_classes=CLASSES, input_shape=(size, size, 3))


def our_network(spec: ModelSpec, record: ModelRecord, recipe: Recipe, batch: int) -> Any:
    """The model that `train` builds, with the training steps that it takes; they are not put back."""
    from cnn_registry.networks.acceleration import accelerate
    from cnn_registry.training.network import build_trainable

    network = build_trainable(spec, record, recipe, batch).model
    accelerate(network)
    return network


def in_memory(pixels: Any, labels: Any, images: Any = None) -> LoadedImages:
    """Wrap pixels ``(N, size, size, 3)``, or a source of them, for the pipeline."""
    dataset = ImageDataset(
        name="noise",
        class_names=tuple(map(str, range(CLASSES))),
        ids=tuple(map(str, range(len(labels)))),
        labels=labels,
        images=pixels,
        splits={},
        default_split=None,
        source="memory",
        image_size=pixels.shape[1],
    )
    return LoadedImages(dataset, images or ArrayImages(pixels), bad=(), digest="")


def write_flowers(table: Path, folder: Path, parts: Callable[[int], Sequence[str]]) -> None:
    """Write a table of the 17 flowers, as `train` takes it.

    Args:
        table: the CSV file.
        folder: where the photographs are.
        parts: for a class, the part of each of its images, in their order; further images are left out.
    """
    flowers, files = load_dataset("oxflower17", folder), {file.name: file for file in folder.absolute().rglob("*.jpg")}
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for label, name in enumerate(flowers.class_names):
            members = [flowers.ids[index] for index in np.flatnonzero(flowers.labels == label)]
            writer.writerows((files[image], name, part) for image, part in zip(members, parts(label), strict=False))


def timed(work: Callable[[], object]) -> Facts:
    """Run ``work``, and return its wall time and its CPU time over all cores, in seconds."""
    cpu, began = time.process_time(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def median(measured: Sequence[Facts], what: str) -> float:
    """The median of one figure over several measurements."""
    return float(np.median([facts[what] for facts in measured]))
