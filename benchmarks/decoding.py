"""Measure the time to read the photographs of the 17 flowers, at the first start and at the second.

    python -m benchmarks.decoding [--data 17flowers]

Ours is what `train` does before it trains BN-Inception, at the size of the recipe ``article`` and at the two sizes of
``default``: first with an empty cache, then with the cache that the first start filled. Plain Keras is one pass of
`image_dataset_from_directory` over the same files at the larger size, which a script without the library makes in each
epoch. Its filter is bilinear without antialiasing, so it does less. Imports are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cnn_registry import get_spec
from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.form import Form, height_and_width
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.sources.load import load_forms
from cnn_registry.workflows.plan import chosen_recipe, settled

from .common import DEFAULT_FLAGS, Facts, Worker, begin, in_turn, save, serve, timed

DATASET, MODEL = "oxflower17", "inception_v2"

RECIPES = ("article", "default")


def sizes(dataset: ImageDataset, recipe: str) -> tuple[int, int]:
    """Edge lengths in pixels of the images for evaluation, and of those that training crops are cut from."""
    spec = get_spec(MODEL)
    chosen = settled(chosen_recipe(spec, recipe, {}), spec, dataset).recipe
    shape = (*height_and_width(chosen.image_size or spec.input_shape[0]), 3)
    return chosen.form(shape).height, chosen.decoded_form(shape).height


def plain_side(data: Path | None, edges: tuple[int, int]) -> None:
    """One pass of `image_dataset_from_directory`."""
    import keras  # by itself, so that TensorFlow is as in a script without the library

    dataset = load_dataset(DATASET, data)
    assert isinstance(dataset.images, tuple)
    folder, edge = Path(str(dataset.images[0])).parent, max(edges)

    def read() -> None:
        every = keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=(edge, edge), batch_size=32, verbose=False
        )
        found = sum(len(images) for images in every)
        assert found == len(dataset), f"{found} of {len(dataset)} images were read"

    serve({}, lambda: timed(read))


def our_side(data: Path | None, edges: tuple[int, int]) -> None:
    """The first and the second start of the library."""

    def read() -> None:
        load_forms(load_dataset(DATASET, data), map(Form.of, edges), on_bad_image="error")

    def starts() -> Facts:
        with TemporaryDirectory() as cache:
            os.environ["CNNREG_CACHE"] = cache
            first = timed(read)
            return first | {"second": timed(read)["seconds"]}

    serve({}, starts)


SIDES = {"plain": plain_side, "ours": our_side}


def cell(data: Path | None, edges: tuple[int, int], rounds: int) -> Facts:
    """Measure at the sizes of one recipe."""
    options = ["--sizes", *edges, *(["--data", data] if data else [])]
    workers = {
        name: Worker("benchmarks.decoding", "--side", name, *options, variables=variables)
        for name, variables in (("plain", DEFAULT_FLAGS), ("ours", {}))
    }
    measured = in_turn(workers, rounds)
    facts: Facts = {"sizes": sorted(set(edges))}
    for name, rows in measured.items():
        for what in ("seconds", "cpu"):
            facts[f"{name}_{what}"] = [round(row[what], 2) for row in rows]
    facts["second_start"] = [round(row["second"], 3) for row in measured["ours"]]
    return facts | {"flags": {name: worker.ready["flags"] for name, worker in workers.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder or archive of the 17 flowers (default: the library's copy)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating measurements of each side (default: 3)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        SIDES[asked.side](asked.data, tuple(asked.sizes))
        return
    dataset = load_dataset(DATASET, asked.data)
    facts: Facts = begin() | {"images": len(dataset), "rows": []}
    for recipe in RECIPES:
        row = {"recipe": recipe} | cell(asked.data, sizes(dataset, recipe), asked.rounds)
        facts["flags"] = row.pop("flags")
        facts["rows"].append(row)
        print(json.dumps(row), file=sys.stderr)
        save("decoding", facts)


if __name__ == "__main__":
    main()
