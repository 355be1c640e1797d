"""Measure how soon a training on a million images begins, and how much memory it takes.

    python -m benchmarks.large [--images 1281167] [--classes 1000]

The images are hard links to a few JPEG files, in a temporary folder with one folder for each class. The scan is what
`load_folder` does, which is compared with a plain walk of the same tree by `os.scandir` that lists the paths of the
files. Both take turns in one process. The first step is the first batch of 32 images of 224 pixels that LeNet-5 was
trained on, counted from the call of `train`, which contains the scan; TensorFlow has been imported. Memory is the
largest resident set of that process until then, and what it had when TensorFlow was imported. A second start finds what
the first one left in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

PER_FILE = 50_000
"""Links to one file; ext4 allows 65,000."""


def make_tree(root: Path, images: int, classes: int) -> None:
    """Write the source files and the links to them."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    sources = []
    for number in range(-(-images // PER_FILE)):
        sources.append(str(root / f"{number}.jpg"))
        pixels = random.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(sources[-1], quality=80)
    for label in range(classes):
        folder = f"{root}/images/n{label:08}"
        os.makedirs(folder)  # noqa: PTH103 - a million paths
        for number in range(label, images, classes):
            os.link(sources[number % len(sources)], f"{folder}/n{label:08}_{number * 7919 % 999983}_{number}.JPEG")


def plain_walk(root: str) -> int:
    """List the paths of all files by `os.scandir`."""
    found, waiting = [], [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                else:
                    found.append(entry.path)
    return len(found)


def scan_side(root: Path, rounds: int) -> dict[str, Any]:
    """Seconds of a plain walk and of `load_folder`, which alternate."""
    from cnn_registry.data.folder import load_folder

    def seconds(work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    plain_walk(str(root))  # so that both find what the system remembers
    times = [(seconds(lambda: plain_walk(str(root))), seconds(lambda: load_folder(root))) for _ in range(rounds)]
    plain, ours = (statistics.median(column) for column in zip(*times, strict=True))
    return {"scandir": round(plain, 2), "scan": round(ours, 2), "ratio": round(ours / plain, 1)}


def step_side(root: Path) -> None:
    """Train one step, and end the process."""
    import cnn_registry
    from cnn_registry import backend

    keras = backend.keras()
    before, began = peak(), time.perf_counter()

    def stop(batch: int, logs: Any) -> None:
        taken = time.perf_counter() - began
        print(json.dumps({"first_step": round(taken, 1), "memory": [before, peak()]}), flush=True)
        raise KeyboardInterrupt

    settings = {"image_size": 224, "batch_size": 32, "precision": "float32"}
    ended = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    out = root.parent / "runs"
    cnn_registry.train("lenet5", data=root, settings=settings, callbacks=[ended], out=out, report=False)


def peak() -> int:
    """The largest resident set of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)


def first_step(root: Path, cache: Path) -> dict[str, Any]:
    """`step_side` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.large", "--side", str(root)],
        env=os.environ | {"CNNREG_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_281_167, help="number of images (default: ImageNet's)")
    parser.add_argument("--classes", type=int, default=1000, help="number of classes (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="scans of each kind (default: 3)")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        step_side(asked.side)
        return
    with TemporaryDirectory() as directory:
        root = Path(directory)
        make_tree(root, asked.images, asked.classes)
        time.sleep(3)  # files that have just been written are read again
        facts = {"images": asked.images, "classes": asked.classes} | scan_side(root / "images", asked.rounds)
        print(json.dumps(facts), flush=True)
        for start in ("first", "second"):
            print(json.dumps({"start": start} | first_step(root / "images", root / "cache")), flush=True)


if __name__ == "__main__":
    main()
