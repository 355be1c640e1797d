"""The page of results, from files of results."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def page(results: Path, out: Path | None = None) -> str:
    """The page that the script writes from a folder of results, into ``out`` or beside them."""
    out, script = out or results.parent / "written", ROOT / "docs" / "make_results.py"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", [str(script), "--results", str(results), "--out", str(out)])
        runpy.run_path(str(script), run_name="__main__")
    text = (out / "results.md").read_text(encoding="utf-8")
    for picture in re.findall(r"\]\((images/[^)]*)\)", text):
        assert (out / picture).stat().st_size > 1000
    return text


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty folder of results."""
    return tmp_path / "results"


def write_accuracy(
    results: Path, model: str, recipe: str, runs: list[Any], *, processor: str = "a processor", **settings: Any
) -> None:
    folder = results / "accuracy"
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "command": f"make bench-accuracy MODEL={model}",
        "date": "2020-01-02T03:04:05+00:00",
        "machine": {"cpus": 2, "processor": processor, "memory": 2**34},
        "versions": {"python": "3.11"},
        "flags": {"all": {"KERAS_BACKEND": "tensorflow"}},
        "load_average": {"start": 1.0, "end": 2.0},
        "model": model,
        "split": "stratified",
        "recipe": {"name": recipe, "train_sizes": [96, 96, 128], "image_size": 160} | settings,
        "runs": runs,
    }
    (folder / f"{model}-{recipe}.json").write_text(json.dumps(facts))


def run(accuracies: list[float], *, minutes: float, last: float) -> dict[str, Any]:
    history = {"minutes": [minutes * (epoch + 1) for epoch in range(len(accuracies))], "val_accuracy": accuracies}
    return {
        "accuracy": last,
        "tta_accuracy": last,
        "best_epoch_accuracy": max(accuracies),
        "minutes": history["minutes"][-1],
        "history": history,
        "confusion": [[8, 2], [0, 10]],
        "class_names": ["daisy", "tulip"],
    }


def test_the_page_in_the_docs_is_of_these_results(tmp_path: Path) -> None:
    made = page(ROOT / "benchmarks" / "results", tmp_path / "written")
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == made, "run: make docs"
    for picture in re.findall(r"\]\((images/[^)]*)\)", made):
        assert (ROOT / "docs" / picture).is_file(), "run: make docs"


def test_without_results_there_are_the_commands_that_make_them(results: Path) -> None:
    text = page(results)
    assert "make bench-accuracy MODEL=vgg16 SEEDS=3 DATA=17flowers`" in text
    assert 'MODEL=vgg16 SEEDS=3 RECIPE=article SET="name=article_96 image_size=96" DATA=17flowers' in text
    assert "python -m benchmarks.scaling" in text
    assert "python -m benchmarks.throughput" in text
    assert "## Accuracy" not in text


def test_accuracy_is_that_of_the_last_epoch_with_every_run(results: Path) -> None:
    runs = [run([0.4, 0.9], minutes=1, last=0.8), run([0.6, 0.7], minutes=1, last=0.7)]
    write_accuracy(results, "alexnet", "default", runs)
    text = page(results)
    assert "| **75.0%** | 7.1% | 80.0%, 70.0% | 75.0% | 80.0% | 2, 2 |" in text
    assert "96, 128, tested at 160" in text
    assert "| daisy | 16 of 20 | tulip (4) |" in text
    assert "Minutes to" not in text
    assert "accuracy/alexnet-default.json" not in text


def test_the_time_to_the_articles_accuracy_is_of_the_first_epoch_that_has_it(results: Path) -> None:
    write_accuracy(results, "alexnet", "default", [run([0.4, 0.6, 0.8], minutes=1, last=0.8)])
    write_accuracy(results, "alexnet", "article", [run([0.2, 0.4, 0.5], minutes=20, last=0.5)])
    assert "| `alexnet` | 50% | 60.0 | 2.0 | 30 times |" in page(results)
    write_accuracy(results, "alexnet", "article", [run([0.2, 0.4, 0.45], minutes=20, last=0.4)])
    assert "| `alexnet` | 50% | not in 60 (best 45.0%) | 2.0 |  |" in page(results)


def test_a_confusion_matrix_goes_with_its_result(results: Path) -> None:
    write_accuracy(results, "alexnet", "default", [run([0.4], minutes=1, last=0.4)])
    page(results)
    write_accuracy(results, "vgg16", "default", [run([0.4], minutes=1, last=0.4)])
    (results / "accuracy" / "alexnet-default.json").unlink()
    page(results)
    pictures = (results.parent / "written" / "images").iterdir()
    assert {picture.name for picture in pictures} == {"accuracy_minutes.png", "confusion-vgg16-default.png"}


def test_times_of_other_machines_are_not_compared(results: Path) -> None:
    runs = [run([0.4, 0.6], minutes=1, last=0.6)]
    write_accuracy(results, "alexnet", "default", runs, precision="bfloat16")
    write_accuracy(results, "alexnet", "article", runs, processor="an older one")
    text = page(results)
    assert "speed-up" not in text
    assert "2 cores of a processor," in text
    assert "2 cores of an older one," in text
    assert "| `alexnet` | default, in bfloat16 |" in text
