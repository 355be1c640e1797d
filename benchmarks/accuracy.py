"""Measure a model's accuracy on the 17 flowers, and its training time, with several seeds on the same split.

    make bench-accuracy MODEL=... SEEDS=... [DATA=17flowers] [RECIPE=...] [SET="key=value ..."] [RUNS=runs]
    python -m benchmarks.accuracy MODEL --seeds 3 [--data 17flowers] [--recipe RECIPE] [--set KEY=VALUE]...

Each run is a `cnn_registry.train` on the stratified split with seed 0; the seeds 0 to SEEDS - 1 determine everything
else. With one of the official splits, the run is tested on its test images. The result is the accuracy of the last
weights. The accuracy of the best epoch, which the validation images themselves select, is also recorded, but does not
count. Each finished run is written immediately into ``results/accuracy/<model>-<recipe>.json``, and is not trained
again as long as the recipe and the versions of the libraries stay the same. The next call resumes a stopped run.

A recipe with changed settings needs its own name, and so gets its own file: ``SET="name=unmixed mixing.cutmix=0.0"``.
"""

from __future__ import annotations

import argparse
import json
from itertools import accumulate
from pathlib import Path
from typing import Any

from cnn_registry import CnnRegistryError, Recipe, backend, get_spec, train
from cnn_registry.data.loading import load_dataset
from cnn_registry.inference.evaluate import evaluate
from cnn_registry.recipes.load import parse_settings
from cnn_registry.runs.history import read_history
from cnn_registry.runs.machine import versions
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note
from cnn_registry.workflows.plan import chosen_recipe, settled
from cnn_registry.workflows.resume import resume, unfinished

from .common import RESULTS, Facts, begin, load, save

DATASET = "oxflower17"
SPLITS = ("stratified", "official-1", "official-2", "official-3")


def planned(asked: argparse.Namespace) -> Recipe:
    """The recipe with everything resolved, with the seed of the first run."""
    spec = get_spec(asked.model)
    settings = {**parse_settings(asked.set), "split_seed": 0, "seed": 0}
    if asked.set and "name" not in settings:
        raise SystemExit("error: A recipe with changed settings needs its own name: --set name=NAME.")
    return settled(chosen_recipe(spec, asked.recipe, settings), spec, load_dataset(DATASET, asked.data)).recipe


def finished(name: str, recipe: Recipe) -> list[Facts]:
    """The runs of earlier calls that need not be trained again."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return []
    facts: Facts = json.loads(path.read_text(encoding="utf-8"))
    runs: list[Facts] = facts["runs"]
    # Compared as recipes: a setting that did not exist then had its default value, and a summary is not a setting.
    recorded = Recipe.model_validate(facts["recipe"]).model_copy(update={"summary": recipe.summary})
    if recorded == recipe and facts["versions"] == versions():
        return runs
    note(f"The {len(runs)} runs in {path} have another recipe or other versions; they are trained again.")
    return []


def trained(recipe: Recipe, asked: argparse.Namespace) -> Facts:
    """Train another run, or resume the one that an earlier call started, and return its figures."""
    before = load()
    request: dict[str, Any] = {
        "dataset": DATASET,
        "data": asked.data,
        "recipe": asked.recipe,
        "settings": {**parse_settings(asked.set), "split_seed": recipe.split_seed, "seed": recipe.seed},
        "split": asked.split,
        "out": asked.runs,
    }
    begun = unfinished(asked.model, **request)
    run = resume(begun) if begun else train(asked.model, **request)
    if run.record.status not in ("finished", "stopped early"):
        raise SystemExit(f"Seed {recipe.seed} was stopped; the same command resumes it.")
    assert run.record.recipe == recipe, "The run does not have the planned recipe."
    resumed = {"resumed": len(run.record.resumed)}
    return {"seed": recipe.seed, **resumed, "load_average": {"start": before, "end": load()}} | figures(run)


def figures(run: Run) -> Facts:
    """The figures of a finished run. Minutes are wall time of training steps, without validation."""
    history = read_history(run.history_csv)
    part: Any = "test" if run.record.split.test else "val"
    last, mirrored = (evaluate(run, part=part, weights="last", tta=tta) for tta in (False, True))
    minutes = list(accumulate(row.seconds / 60 for row in history))
    columns: Facts = {"minutes": [round(end, 3) for end in minutes]}
    for column in ("loss", "accuracy", "val_loss", "val_accuracy"):
        columns[column] = [round(getattr(row, column), 4) for row in history]
    return {
        "status": run.record.status,
        "part": part,
        "accuracy": last.accuracy,
        "tta_accuracy": mirrored.accuracy,
        "best_epoch_accuracy": max(row.val_accuracy for row in history),
        "val_loss": history[-1].val_loss,
        "epochs": len(history),
        "minutes": minutes[-1],
        "history": columns,
        "confusion": last.report()["confusion"],
        "class_names": list(last.class_names),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs (default: 3)")
    parser.add_argument("--recipe", help="a recipe's name or a .toml file (default: the model's)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a recipe setting")
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[0], help="(default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder or archive of the 17 flowers (default: the library's copy)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for run directories (default: runs)")
    return parser.parse_args()


def command(asked: argparse.Namespace) -> str:
    """The command that produces the same figures on another machine."""
    words = ["make bench-accuracy", f"MODEL={asked.model}", f"SEEDS={asked.seeds}"]
    words += [f"RECIPE={asked.recipe}"] if asked.recipe else []
    words += [f'SET="{" ".join(asked.set)}"'] if asked.set else []
    words += [f"SPLIT={asked.split}"] if asked.split != SPLITS[0] else []
    return " ".join([*words, "DATA=17flowers"])


def main() -> None:
    asked = arguments()
    backend.prepare()  # so that its flags are recorded
    recipe = planned(asked)
    suffix = "" if asked.split == SPLITS[0] else f"-{asked.split}"
    name = f"accuracy/{get_spec(asked.model).name}-{recipe.name}{suffix}"
    runs = finished(name, recipe)
    facts: Facts = begin(command(asked)) | {
        "model": get_spec(asked.model).name,
        "recipe": recipe.to_dict(),
        "split": asked.split,
        "dataset": DATASET,
        "runs": runs,
    }
    for seed in sorted(set(range(asked.seeds)) - {run["seed"] for run in runs}):
        runs.append(trained(recipe.with_settings({"seed": seed}), asked))
        runs.sort(key=lambda run: int(run["seed"]))
        save(name, facts)
    print(f"{RESULTS / name}.json:", ", ".join(f"{run['accuracy']:.1%}" for run in runs))


if __name__ == "__main__":
    try:
        main()
    except CnnRegistryError as error:
        raise SystemExit(f"error: {error}") from error
