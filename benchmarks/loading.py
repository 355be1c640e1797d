"""Measure how many photographs per second reach a network, beside `tf.data` and PyTorch's `DataLoader`.

    python -m benchmarks.loading --data 17flowers [--torch PYTHON]

Each side reads the same JPEG files in a new order each epoch, resizes them to 224 x 224 pixels, and makes batches of 32
with values from 0 to 1. Ours are `training_batches` without augmentation: of images that are decoded whenever they are
read, exactly and at a reduced size (the setting ``decoding``), from files and from packed shards, and of the mapped
cache. `tf.data` decodes with `tf.io.decode_jpeg` and resizes with a bilinear filter without antialiasing, in as many
threads as there are processors. `DataLoader` reads an `ImageFolder` in as many processes as there are processors, with
torchvision's `Resize` (bilinear, antialiased); it is skipped where PyTorch is not installed. The sides take turns, one
pass over the photographs each; figures are medians, and ratios are those of the same round. At the end it says by how
much decoding at a reduced size changes the pixels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .common import Facts, Worker, begin, in_turn, save, timed

SIZE, BATCH = 224, 32

OURS = ("streamed, exact", "streamed, reduced", "packed, exact", "packed, reduced", "mapped cache")


def epochs(side: str, folder: Path) -> Callable[[], int]:
    """What reads all images once, and returns their number."""
    return tf_epochs(folder) if side == "tf.data" else our_epochs(folder, side)


def our_epochs(folder: Path, side: str) -> Callable[[], int]:
    """`training_batches` without augmentation."""
    import numpy as np

    from cnn_registry.data.form import Form
    from cnn_registry.data.loading import load_dataset
    from cnn_registry.data.packing import pack
    from cnn_registry.data.pipeline.augment import Augmentation
    from cnn_registry.data.pipeline.batches import training_batches
    from cnn_registry.data.sources.load import load_forms

    if side.startswith("packed"):
        folder = pack(folder, folder.parent / side.replace(", ", "-"), max_edge=10_000).path
    form = Form(SIZE, SIZE, reduced=side.endswith("reduced"))
    limit = None if side == "mapped cache" else 0
    images = load_forms(load_dataset(None, folder), (form,), memory_limit=limit)[form]
    passes = itertools.count()

    def read() -> int:
        """One epoch of its own, so that nothing is decoded while other sides are measured."""
        options: Any = {"batch_size": BATCH, "epochs": 1, "seed": next(passes), "pixels": "unit"}
        batches = training_batches(images, np.arange(len(images.dataset)), augmentation=Augmentation(), **options)
        return sum(len(pixels) for pixels, _ in batches)

    return read


def tf_epochs(folder: Path) -> Callable[[], int]:
    """`tf.data` as TensorFlow's guide to loading images has it."""
    import tensorflow as tf

    classes = sorted(path.name for path in folder.iterdir())
    files = sorted(map(str, folder.glob("*/*.jpg")))
    labels = [classes.index(Path(file).parent.name) for file in files]

    def decoded(file: Any, label: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        return tf.image.resize(image, (SIZE, SIZE)) / 255.0, tf.one_hot(label, len(classes))

    batches = (
        tf.data.Dataset.from_tensor_slices((files, labels))
        .shuffle(len(files), reshuffle_each_iteration=True)
        .map(decoded, num_parallel_calls=os.cpu_count())
        .batch(BATCH)
        .prefetch(2)
    )
    return lambda: sum(len(images) for images, _ in batches)


class Here:
    """A side in this process, which measures as a `Worker` does. It reads everything once when it is made."""

    def __init__(self, name: str, folder: Path) -> None:
        self._read = epochs(name, folder)
        self.count = self._read()

    def measure(self) -> Facts:
        """Read everything once more."""
        return {"images_per_second": self.count / timed(self._read)["seconds"]}

    def close(self) -> None:
        """Nothing is left open."""


def link(data: Path, folder: Path, every: int) -> None:
    """A folder of class folders of links to the photographs, or to one of so many."""
    from cnn_registry.data.loading import load_dataset

    dataset = load_dataset("oxflower17", data)
    for file, label in list(zip(dataset.images, dataset.labels, strict=True))[::every]:
        place = folder / f"{label:02}" / Path(str(file)).name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(Path(str(file)).resolve())


def has_torch(python: str) -> bool:
    """Whether an interpreter has PyTorch and torchvision."""
    tried = subprocess.run([python, "-c", "import torch, torchvision"], capture_output=True, check=False)
    return tried.returncode == 0


def reduced_differences(folder: Path) -> Facts:
    """What decoding at a reduced size changes, of 255: the mean of all values, that of the worst image, the largest."""
    import numpy as np

    from cnn_registry.data.form import Form
    from cnn_registry.data.image import decode

    means, largest = [], 0
    for path in folder.glob("*/*"):
        exact, reduced = (decode(path, Form(SIZE, SIZE, reduced=reduced)).astype(int) for reduced in (False, True))
        apart = np.abs(exact - reduced)
        means.append(float(apart.mean()))
        largest = max(largest, int(apart.max()))
    return {"mean": round(sum(means) / len(means), 2), "worst image": round(max(means), 2), "largest": largest}


def main() -> None:
    """Measure all sides, round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder or archive of the 17 flowers")
    parser.add_argument("--rounds", type=int, default=5, help="passes of each side (default: 5)")
    parser.add_argument("--every", type=int, default=1, help="use one of so many photographs (default: 1)")
    parser.add_argument("--torch", default=sys.executable, help="the Python of PyTorch's side (default: this one)")
    asked = parser.parse_args()
    with TemporaryDirectory() as directory:
        os.environ |= {"CNNREG_CACHE": str(Path(directory) / "cache"), "TF_CPP_MIN_LOG_LEVEL": "2"}
        folder = Path(directory) / "photographs"
        link(asked.data, folder, asked.every)
        workers: dict[str, Here | Worker] = {name: Here(name, folder) for name in (*OURS, "tf.data")}
        facts: Facts = begin() | {"images": sum(1 for _ in folder.glob("*/*")), "size": SIZE, "rows": []}
        if has_torch(asked.torch):
            workers["DataLoader"] = Worker("benchmarks.loading_torch", folder, SIZE, BATCH, python=asked.torch)
        else:
            print(f"DataLoader: skipped, as {asked.torch} has no PyTorch and torchvision.", file=sys.stderr)
        measured = in_turn(workers, asked.rounds)
        facts["differences"] = reduced_differences(folder)
        print("decoding=reduced changes, of 255:", json.dumps(facts["differences"]))
    speeds = {name: [row["images_per_second"] for row in rows] for name, rows in measured.items()}
    for name, own in speeds.items():
        row: Facts = {"side": name, "images_per_second": round(statistics.median(own))}
        for other in ("tf.data", "DataLoader"):
            if other in speeds and other != name:
                ratios = [one / two for one, two in zip(own, speeds[other], strict=True)]
                row[f"times {other}"] = round(statistics.median(ratios), 2)
        print(json.dumps(row), flush=True)
        facts["rows"].append(row)
    save("loading", facts)


if __name__ == "__main__":
    main()
