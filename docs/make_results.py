"""Write ``docs/results.md`` and its plots from the JSON files in ``benchmarks/results``. ``make docs`` runs this.

No figure comes from anywhere else. Missing files are listed at the end, with the command that writes each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from docs.results_page.accuracy import ARTICLE, ARTICLE_RECIPES, accuracy
from docs.results_page.facts import Facts, conditions, read, read_all, table
from docs.results_page.pictures import batches, decoding, exports, prediction, serving
from docs.results_page.scaling import scaling
from docs.results_page.settings import imbalance, lr_find
from docs.results_page.steps import first_step, memory, throughput

ROOT = Path(__file__).parents[1]

MEASURED = ("throughput/*", "first_step", "memory", "decoding", "prediction", "scaling", "exports")
"""Files that the scripts of these names write; ``throughput`` writes one for each kind of CPU."""

CHANGES = {"article_96": ' SET="name=article_96 image_size=96"'}
"""Arguments that turn ``article`` into these recipes."""

EXPECTED = {
    **{f"accuracy/{model}-default": f"make bench-accuracy MODEL={model} SEEDS=3 DATA=17flowers" for model in ARTICLE},
    **{
        f"accuracy/{model}-{recipe}": f"make bench-accuracy MODEL={model} SEEDS=3 RECIPE=article"
        f"{CHANGES.get(recipe, '')} DATA=17flowers"
        for model, recipe in ARTICLE_RECIPES.items()
    },
    **{name: f"python -m benchmarks.{name.split('/')[0]}" for name in MEASURED},
    "imbalance": "python -m benchmarks.imbalance --data 17flowers",
    "lr_find": "python -m benchmarks.lr_find --data 17flowers",
    "batches": "python -m benchmarks.batches --data 17flowers --links 1000000",
    "serving": "python -m benchmarks.serving --picture photo.jpg",
}
"""The expected files, and the commands that write them."""

HEAD = """# Results

`make docs` writes this page from the files in `benchmarks/results`. Each file has the machine, the versions, the flags
and every single measurement; no figure is typed by hand. [benchmarks.md](benchmarks.md) has other benchmarks.

*The article* is the Chinese article that this library grew out of ([user guide](guide.md#training)). It trains AlexNet,
VGG16 and Inception-V2 from scratch on the 17 flowers, and reports validation accuracies close to 50 %, 60 % and 70 %.
"""


def page(results: Path, pictures: Path) -> str:
    """The text of the page from the files in ``results``; its plots are drawn into ``pictures``."""
    parts = [HEAD, *accuracy(read_all(results / "accuracy"), pictures), *throughput(read_all(results / "throughput"))]
    sections: dict[str, Callable[[Facts], Iterator[str]]] = {
        "imbalance": imbalance,
        "lr_find": lr_find,
        "first_step": first_step,
        "memory": memory,
        "decoding": decoding,
        "prediction": prediction,
        "batches": batches,
        "serving": serving,
        "exports": exports,
        "scaling": lambda facts: scaling(facts, pictures),
    }
    for name, section in sections.items():
        if facts := read(results / f"{name}.json"):
            parts += [*section(facts), conditions(facts)]
    missing = {name: command for name, command in EXPECTED.items() if not any(results.glob(f"{name}.json"))}
    if missing:
        rows = [[f"`{name}.json`", f"`{command}`"] for name, command in missing.items()]
        parts += ["## Not measured yet\n", table(["file", "command"], rows)]
    return "\n".join(parts)


def main() -> None:
    """Write the page and its plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write into (default: docs)")
    results = ROOT / "benchmarks" / "results"
    parser.add_argument("--results", type=Path, default=results, help="folder to read (default: benchmarks/results)")
    arguments = parser.parse_args()
    out: Path = arguments.out
    (out / "images").mkdir(parents=True, exist_ok=True)
    for picture in (out / "images").glob("confusion-*.png"):
        picture.unlink()  # its results may no longer exist
    (out / "results.md").write_text(page(arguments.results, out / "images"), encoding="utf-8")


if __name__ == "__main__":
    main()
