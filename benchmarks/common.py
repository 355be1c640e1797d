"""What the scripts share: what a figure was measured with, and processes that measure in turn.

Each script writes one JSON file into `RESULTS`, from which ``docs/make_results.py`` makes a page. What is compared runs
in processes of its own, as TensorFlow reads its flags when it is imported: they make ready, then measure one after the
other, round by round, while the others wait. So what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry import backend
from cnn_registry.data.cache import LoadedImages
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.sources import ArrayImages
from cnn_registry.files import write_file
from cnn_registry.spec import ModelSpec
from cnn_registry.training.run import ModelRecord, machine, versions

RESULTS = Path(__file__).parent / "results"

CLASSES = 17

RATES = {"alexnet": 1e-3, "vgg16": 1e-5, "inception_v2": 1e-5}
"""The networks that are trained beside scripts without the library, and the rates that Adam trains them at."""

Widths = tuple[int, int]
"""Channels of a 1x1 convolution, and of the 3x3 convolutions behind it."""

FLAGS = ("TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS", "TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "XLA_FLAGS")
"""Variables that change what TensorFlow and Keras do."""

DEFAULT_FLAGS: Mapping[str, str | None] = dict.fromkeys(FLAGS) | {"TF_CPP_MIN_LOG_LEVEL": "2"}
"""Those of somebody who has not heard of them; but for the notes on standard error, which cost nothing."""

Facts = dict[str, Any]


class Worker:
    """A process that makes ready once, and then measures whenever it is asked.

    Args:
        script: the module, whose ``main`` ends in `serve`.
        *arguments: its arguments.
        variables: of its environment, besides this one's; ``None`` to unset one.

    Attributes:
        ready: what it told when it was ready.
    """

    def __init__(self, script: str, *arguments: object, variables: Mapping[str, str | None] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", script, *map(str, arguments)],
            env=environment(variables or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()

    def measure(self) -> Facts:
        """One more measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process and give back its memory."""
        self._process.communicate()

    def _answer(self) -> Facts:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A worker ended with code {self._process.wait()}; see above.")
        answer: Facts = json.loads(line)
        return answer


def serve(ready: Facts, measure: Callable[[], Facts]) -> None:
    """In a worker: tell that it is ready and with which flags, then measure once for each line of standard input."""
    print(json.dumps(ready | {"flags": flags()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), flush=True)


def in_turn(workers: Mapping[str, Worker], rounds: int) -> dict[str, list[Facts]]:
    """What the workers measure, each once a round: A B A B."""
    measured: dict[str, list[Facts]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            measured[name].append(worker.measure())
    for worker in workers.values():
        worker.close()
    return measured


def environment(variables: Mapping[str, str | None]) -> dict[str, str]:
    """The variables of a process: this one's, but for those."""
    changed = {**os.environ, **variables}
    return {name: value for name, value in changed.items() if value is not None}


def begin(command: str = "") -> Facts:
    """What a figure depends on besides the code, at the beginning of the measurements.

    Args:
        command: what makes it; default the script as it was called.
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
    """Those that are set in this process, by the user or by the library."""
    return {name: os.environ[name] for name in FLAGS if name in os.environ}


def save(name: str, facts: Facts) -> None:
    """Write ``<name>.json`` into `RESULTS`, whole or not at all, with the load of the machine until now."""
    facts["load_average"]["end"] = load()
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1)
    # Lists of figures are on one line each.
    text = re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]", text)
    write_file(path, text + "\n")


def load() -> float:
    """Processes that ran or wanted to, mean of the last minute, what is measured here among them."""
    return round(os.getloadavg()[0], 2)


def processor() -> str:
    """The processor's name, its generation, which a machine in a cloud may not have in its name, and its vectors."""
    try:
        told = backend.CPUINFO.read_text(encoding="utf-8")
    except OSError:
        return str(machine()["processor"])
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", told, re.MULTILINE))
    generation = f"family {found['cpu family']} model {found['model']}" if "cpu family" in found else ""
    widest = next((flag for flag in ("avx512f", "avx2", "avx") if flag in backend.cpu_flags()), "")
    return " ".join(part for part in (found.get("model name", ""), generation, widest) if part)


def random_pixels(count: int, size: int) -> LoadedImages:
    """Random pixels in memory, with random labels of `CLASSES` classes."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (count, size, size, 3), np.uint8)
    return in_memory(pixels, random.integers(0, CLASSES, count))


def model_record(spec: ModelSpec, size: int, options: Mapping[str, Any]) -> ModelRecord:
    """What `build_trainable` builds, for square images and as many classes as these random ones have."""
    return ModelRecord(spec=spec.to_dict(), options=dict(options), num_classes=CLASSES, input_shape=(size, size, 3))


def in_memory(pixels: Any, labels: Any, images: Any = None) -> LoadedImages:
    """Pixels ``(N, size, size, 3)``, or a source of them, as the pipeline takes them."""
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


def timed(work: Callable[[], object]) -> Facts:
    """Seconds that it takes, and those of all processors."""
    cpu, began = time.process_time(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def median(measured: Sequence[Facts], what: str) -> float:
    """Of one figure of several measurements."""
    return float(np.median([facts[what] for facts in measured]))
