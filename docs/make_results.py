"""Write ``docs/results.md`` and its plots from the JSON files in ``benchmarks/results``. ``make docs`` runs this.

No figure comes from anywhere else. Missing files are listed at the end, with the command that writes each.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_registry.report.plots import plot_confusion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

ARTICLE = {"alexnet": 0.5, "vgg16": 0.6, "inception_v2": 0.7}
"""Validation accuracies that the article reports, for its networks and recipes at 224 pixels."""

MEASURED = ("throughput/*", "first_step", "decoding", "prediction", "scaling", "exports")
"""Files that the scripts of these names write; ``throughput`` writes one for each kind of CPU."""

ARTICLE_RECIPES = {"alexnet": "article", "vgg16": "article_96", "inception_v2": "article"}
"""The article's recipe for each network. VGG16 at 224 pixels is too slow on a CPU, so it runs at 96."""

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

PEERS = {"plain": "plain Keras", "jax": "Keras on JAX", "pytorch": "PyTorch", "pytorch-compiled": "compiled"}
"""The sides that our training steps are compared with, and the heads of their columns."""

SHORT = "-bfloat16"
"""At the end of the names of sides that compute in bfloat16."""

PANELS = 3
"""Number of panels in a row of the plot of accuracy against minutes."""

COLOURS = {"default": "C0", "article": "C3", "article_96": "C3"}
"""Colours of these recipes' curves in that plot, the same in each panel."""

Facts = dict[str, Any]

HEAD = """# Results

`make docs` writes this page from the files in `benchmarks/results`. Each file has the machine, the versions, the flags
and every single measurement; no figure is typed by hand. [benchmarks.md](benchmarks.md) has other benchmarks.

*The article* is the Chinese article that this library grew out of ([user guide](guide.md#training)). It trains AlexNet,
VGG16 and Inception-V2 from scratch on the 17 flowers, and reports validation accuracies close to 50 %, 60 % and 70 %.
"""


def read(name: str) -> Facts | None:
    """One file of results, or ``None`` if it does not exist."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def read_all(folder: str) -> list[Facts]:
    """All files of results in a folder, in the order of their names."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / folder).glob("*.json"))]


def page(pictures: Path) -> str:
    """The text of the page; its plots are drawn into ``pictures``."""
    parts = [HEAD, *accuracy(read_all("accuracy"), pictures), *throughput(read_all("throughput"))]
    sections: dict[str, Callable[[Facts], Iterator[str]]] = {
        "imbalance": imbalance,
        "lr_find": lr_find,
        "first_step": first_step,
        "decoding": decoding,
        "prediction": prediction,
        "batches": batches,
        "serving": serving,
        "exports": exports,
        "scaling": lambda facts: scaling(facts, pictures),
    }
    for name, section in sections.items():
        if facts := read(name):
            parts += [*section(facts), conditions(facts)]
    missing = {name: command for name, command in EXPECTED.items() if not any(RESULTS.glob(f"{name}.json"))}
    if missing:
        rows = [[f"`{name}.json`", f"`{command}`"] for name, command in missing.items()]
        parts += ["## Not measured yet\n", table(["file", "command"], rows)]
    return "\n".join(parts)


def accuracy(results: Sequence[Facts], pictures: Path) -> Iterator[str]:
    """The accuracy of the models, and the time it takes."""
    if not results:
        return
    yield "## Accuracy\n"
    yield (
        "Oxford 17 category flowers, from scratch. Accuracies are on the validation images, evaluated once with the "
        "weights of the last epoch. The accuracy of the best epoch is also shown, but it is optimistic, because the "
        "same images select the epoch. *Mirrored* averages the predictions for each image and its mirror image "
        "(`--tta`). Official splits are tested on their test images. With 272 images, the standard error of one run is "
        "about 2 points.\n"
    )
    yield table(
        ["model", "recipe", "split", "pixels", "mean", "std. dev.", "single runs", "mirrored", "best epoch", "minutes"],
        [accuracy_row(facts) for facts in results],
    )
    plot_minutes(results, pictures / "accuracy_minutes.png")
    yield "![Validation accuracy against minutes](images/accuracy_minutes.png)\n"
    yield from time_to_accuracy(results)
    yield from origins(results)
    yield from confusions(results, pictures)


def origins(results: Sequence[Facts]) -> Iterator[str]:
    """The commands of all results, and the machines that they ran on, each machine once."""
    places = list(dict.fromkeys(map(place, results)))
    made = [[f"`{facts['command']}`", facts["date"][:10], 1 + places.index(place(facts))] for facts in results]
    loads = [facts["load_average"] for facts in results]
    yield "### How the results were produced\n"
    yield "In the order of the first table:\n"
    head = ["command", "date", "machine", "load average at the start", "at the end"]
    yield table(head, [[*row, load["start"], load["end"]] for row, load in zip(made, loads, strict=True)])
    yield "\n".join(f"{number}. {found}" for number, found in enumerate(places, start=1)) + "\n"


def accuracy_row(facts: Facts) -> list[str]:
    """The row of one model and recipe."""
    runs, recipe = facts["runs"], facts["recipe"]
    values = [run["accuracy"] for run in runs]
    return [
        f"`{facts['model']}`",
        recipe_name(facts),
        facts["split"],
        ", ".join(map(str, [*dict.fromkeys(recipe["train_sizes"]), f"tested at {recipe['image_size'] or 224}"])),
        f"**{np.mean(values):.1%}**",
        f"{np.std(values, ddof=1):.1%}" if len(values) > 1 else "",
        ", ".join(f"{value:.1%}" for value in values),
        f"{np.mean([run['tta_accuracy'] for run in runs]):.1%}",
        f"{np.mean([run['best_epoch_accuracy'] for run in runs]):.1%}",
        ", ".join(f"{run['minutes']:.0f}" for run in runs),
    ]


def recipe_name(facts: Facts) -> str:
    """The recipe's name, and the precision if it is not float32."""
    precision = ", in bfloat16" if facts["recipe"].get("precision") == "bfloat16" else ""
    return f"{facts['recipe']['name']}{precision}"


def time_to_accuracy(results: Sequence[Facts]) -> Iterator[str]:
    """Minutes until each recipe reaches the article's accuracy, if both ran on the same kind of machine."""
    rows = []
    for model, target in ARTICLE.items():
        of_model = {facts["recipe"]["name"]: facts for facts in results if facts["model"] == model}
        compared = [of_model.get(name) for name in (ARTICLE_RECIPES[model], "default")]
        if None in compared or len({facts["machine"]["processor"] for facts in compared if facts}) > 1:
            continue
        runs = [facts["runs"] for facts in compared if facts]
        times = [[minutes_to(run, target) for run in of_recipe] for of_recipe in runs]
        slow, fast = (np.median([np.inf if t is None else t for t in of_recipe]) for of_recipe in times)
        ratio = f"{slow / fast:.0f} times" if np.isfinite([slow, fast]).all() else ""
        rows.append([f"`{model}`", f"{target:.0%}", *map(reached, times, runs), ratio])
    if rows:
        yield "### Minutes to the article's accuracy\n"
        yield (
            "Minutes of training steps, without validation, until the end of the first epoch that reaches this "
            "validation accuracy. The speed-up is the ratio of the medians.\n"
        )
        yield table(["model", "accuracy", "article's recipe", "default recipe", "speed-up"], rows)


def minutes_to(run: Facts, target: float) -> float | None:
    """Minutes until the first epoch with that validation accuracy."""
    history = run["history"]
    return next(
        (m for m, value in zip(history["minutes"], history["val_accuracy"], strict=True) if value >= target), None
    )


def reached(times: Sequence[float | None], runs: Sequence[Facts]) -> str:
    """The minutes that each run needed, or its best accuracy."""
    return ", ".join(
        f"not in {run['minutes']:.0f} (best {run['best_epoch_accuracy']:.1%})" if time is None else f"{time:.1f}"
        for time, run in zip(times, runs, strict=True)
    )


def confusions(results: Sequence[Facts], pictures: Path) -> Iterator[str]:
    """Which classes are confused, over all runs of a default recipe on the stratified split."""
    for facts in results:
        if facts["split"] != "stratified" or facts["recipe"]["name"] != "default":
            continue
        names, name = facts["runs"][0]["class_names"], f"{facts['model']}-{facts['recipe']['name']}"
        counts = np.sum([run["confusion"] for run in facts["runs"]], axis=0)
        title = f"{name}: last weights of {len(facts['runs'])} runs"
        plot_confusion(counts, names, pictures / f"confusion-{name}.png", title=title)
        yield f"### Classes of `{facts['model']}`, recipe {facts['recipe']['name']}\n"
        yield table(["class", "correct", "confused with"], list(class_rows(counts, names)))
        yield f"![Confusion matrix of {name}](images/confusion-{name}.png)\n"


def class_rows(counts: Any, names: Sequence[str]) -> Iterator[list[str]]:
    """One row per class."""
    for label, name in enumerate(names):
        wrong = [(count, names[other]) for other, count in enumerate(counts[label]) if count and other != label]
        listed = ", ".join(f"{other} ({count})" for count, other in sorted(wrong, reverse=True)[:3])
        yield [name, f"{counts[label][label]} of {counts[label].sum()}", listed]


def throughput(results: Sequence[Facts]) -> Iterator[str]:
    """Training steps compared with those of plain Keras and PyTorch, on each kind of CPU."""
    if not results:
        return
    yield "## Training steps\n"
    yield (
        "Images per second: forward pass, backward pass and update with Adam. All train the same network on the same "
        "batch and take turns: plain Keras as in a script, with TensorFlow's default flags and with JAX; PyTorch, also "
        "with `torch.compile`; and the library (*ours*). Speeds are medians, ratios medians over the rounds: of ours "
        "to plain Keras, with every round, and of ours to the faster of PyTorch's two. *Peak* is the speed of float32 "
        "matrix products in the same rounds, *share* the part of it that the fastest round of our steps reached. In "
        "bfloat16, plain Keras has the policy `mixed_bfloat16`, PyTorch its autocast, and ours `precision = bfloat16`; "
        "*to float32* is the ratio of ours to plain Keras in float32.\n"
    )
    for facts in results:
        yield f"### On {facts['machine']['processor']}\n"
        yield speeds(facts["cells"], "")
        if any("ours" + SHORT in cell["speeds"] for cell in facts["cells"]):
            yield "In bfloat16:\n"
            yield speeds(facts["cells"], SHORT)
        commands = dict.fromkeys(cell["command"] for cell in facts["cells"])
        yield "Measured one after another with:\n"
        yield "\n".join(f"    {command}" for command in commands) + "\n"
        yield conditions(facts)


def speeds(cells: Sequence[Facts], suffix: str) -> str:
    """A table of training steps in one precision; columns of sides that were never measured are left out."""
    cells = [cell for cell in cells if "ours" + suffix in cell["speeds"]]
    peers = [side for side in PEERS if any(side + suffix in cell["speeds"] for cell in cells)]
    shown = [*peers, "ours", *(f"to {PEERS[side]}" for side in peers if side in ("plain", "pytorch"))]
    last = ["to float32"] if suffix else ["peak, GFLOP/s", "share"]
    head = ["model", "pixels", "batch", *(PEERS.get(name, name) for name in shown), *last, "load"]
    return table(head, [speeds_row(cell, peers, suffix) for cell in cells])


def speeds_row(cell: Facts, peers: Sequence[str], suffix: str) -> list[object]:
    """One network at one size; not every side was measured on every machine."""
    found = {side: cell["speeds"][side + suffix] for side in (*PEERS, "ours") if side + suffix in cell["speeds"]}
    ours = found["ours"]
    row: list[object] = [f"`{cell['model']}`", cell["size"], cell["batch_size"]]
    row += [f"{np.median(found[side]):.2f}" if side in found else "" for side in (*peers, "ours")]
    if "plain" in peers:
        rounds = np.divide(ours, found["plain"]) if "plain" in found else []
        shown = ", ".join(f"{ratio:.2f}" for ratio in rounds)
        row += [f"**{np.median(rounds):.2f}** ({shown})" if shown else ""]
    if "pytorch" in peers:
        torch = [found[side] for side in ("pytorch", "pytorch-compiled") if side in found]
        row += [f"**{np.median(np.divide(ours, np.max(torch, axis=0))):.2f}**" if torch else ""]
    if suffix:
        row += [f"{np.median(np.divide(ours, cell['speeds']['plain'])):.2f}"]
    else:
        row += [f"{cell['peak_flops'] / 1e9:.0f}", f"{cell['share_of_peak']:.0%}"]
    return [*row, "to".join(f" {load} " for load in cell["load_average"].values()).strip()]


def first_step(facts: Facts) -> Iterator[str]:
    """The time until the first training step."""
    yield "## The first step\n"
    yield (
        f"Seconds from the start of Python to the end of the first training step, `{facts['model']}` at "
        f"{facts['size']} pixels, batch {facts['batch_size']}; all measurements, alternating. CPU time is the sum over "
        "all cores; it depends less on other load.\n"
    )
    yield table(
        ["optimizer", "our recipe", "plain Keras", "ours", "plain Keras, CPU time", "ours, CPU time"],
        [
            [
                row["optimizer"],
                row["recipe"],
                *(", ".join(f"{t:.1f}" for t in row[key]) for key in ("plain", "ours", "plain_cpu", "ours_cpu")),
            ]
            for row in facts["rows"]
        ],
    )


def imbalance(facts: Facts) -> Iterator[str]:
    """What weights of classes and balanced sampling do for small classes."""
    many, few, held_out = facts["images"]
    yield "## Classes of different sizes\n"
    yield (
        f"The 17 flowers with {few} training images of each second class and {many} of the others, and {held_out} "
        f"validation images of each: `{facts['model']}` from scratch at {facts['size']} pixels for {facts['epochs']} "
        "epochs of the recipe `default`, last weights. Macro F1 is the mean of the runs, which follow by seed. Recall "
        "is the mean over the small and over the large classes.\n"
    )
    rows = []
    for way in dict.fromkeys(run["way"] for run in facts["runs"]):
        runs = [run for run in facts["runs"] if run["way"] == way]
        means = {
            key: float(np.mean([run[key] for run in runs])) for key in runs[0] if key not in ("way", "load_average")
        }
        single = ", ".join(f"{run['macro_f1']:.3f}" for run in runs)
        rows.append(
            [
                "neither" if way == "none" else f"`{way}`",
                f"**{means['macro_f1']:.3f}** ({single})",
                *(f"{means[key]:.1%}" for key in ("accuracy", "recall_small", "recall_large")),
            ]
        )
    yield table(["setting", "macro F1", "accuracy", "recall of small classes", "of large classes"], rows)


def lr_find(facts: Facts) -> Iterator[str]:
    """What a suggested learning rate is worth beside a grid of rates."""
    grid = list(map(str, facts["grid"]))
    of: dict[tuple[str, str], list[Facts]] = {}
    for run in facts["runs"]:
        of.setdefault((run["data"], run["model"]), []).append(run)
    settings = "; ".join(
        f"{name}: {', '.join(f'`{key}={value}`' for key, value in changed.items())}"
        for name, changed in facts["settings"].items()
    )
    yield "## Learning rates that lr-find suggests\n"
    yield (
        "Validation accuracy with the rate that `cnnreg lr-find` suggests, and with each rate of a grid. Everything "
        f"else is the recipe `default` with few epochs ({settings}); last weights. The flowers have {facts['half']} "
        f"training and {facts['half']} validation images of each class. Several seeds follow their mean. The best of "
        "eight rates is chosen on the same images, which favours the grid.\n"
    )
    rows, single = [], []
    for (data, model), runs in of.items():
        found = [run for run in runs if run["rate"] == "suggestion"]
        suggested = [run for run in runs if run["rate"] == "suggested"]
        by_rate = {rate: [run for run in runs if run["rate"] == rate] for rate in grid}
        means = {rate: float(np.mean([run["accuracy"] or 0 for run in own])) for rate, own in by_rate.items() if own}
        if not suggested or len(means) < len(grid):
            continue
        best = max(means, key=lambda rate: means[rate])
        mine = float(np.mean([run["accuracy"] or 0 for run in suggested]))
        rows.append(
            [
                data,
                f"`{model}`",
                ", ".join(f"{run['suggestion']:.2g}" if run["suggestion"] else "none" for run in found),
                _accuracies(suggested),
                best,
                _accuracies(by_rate[best]),
                f"**{100 * (mine - means[best]):+.1f}**",
            ]
        )
        single.append([data, f"`{model}`", *(_accuracies(by_rate[rate], short=True) for rate in grid)])
    columns = ["data", "network", "suggestion", "accuracy", "best rate of the grid", "its accuracy", "points"]
    yield table(columns, rows)
    known = {(row[0], row[1]) for row in rows}
    pairs = [(data, f"`{model}`") for data in facts["settings"] for model in facts["models"]]
    if missing := [f"{model} on {data}" for data, model in pairs if (data, model) not in known]:
        yield f"\nNot measured yet, and trained by the next call of the command: {', '.join(missing)}."
    yield "\nThe grid, in percent:\n"
    yield table(["data", "network", *grid], single)


def _accuracies(runs: Sequence[Facts], *, short: bool = False) -> str:
    """The mean of the accuracies of some runs, and each of them where there are several."""
    each = [run["accuracy"] or 0.0 for run in runs]  # a training that diverged recognises nothing
    mean = f"{100 * np.mean(each):.1f}" if short else f"{np.mean(each):.1%}"
    return mean if short or len(each) == 1 else f"{mean} ({', '.join(f'{100 * value:.1f}' for value in each)})"


def decoding(facts: Facts) -> Iterator[str]:
    """The time to read photographs."""
    yield "## Reading photographs\n"
    yield (
        f"Seconds until the {facts['images']:,} photographs are ready for training, at the sizes of two of "
        "BN-Inception's recipes, without imports; all measurements, alternating. The first start decodes them, the "
        "second reads the cache. Plain Keras is one pass of `image_dataset_from_directory` at the larger size, which a "
        "script makes in each epoch.\n"
    )
    yield table(
        ["recipe", "pixels", "plain Keras, each epoch", "first start", "first start, CPU time", "second start"],
        [
            [
                row["recipe"],
                ", ".join(map(str, row["sizes"])),
                *(", ".join(f"{t:.1f}" for t in row[key]) for key in ("plain_seconds", "ours_seconds", "ours_cpu")),
                ", ".join(f"{t:.2f}" for t in row["second_start"]),
            ]
            for row in facts["rows"]
        ],
    )


def prediction(facts: Facts) -> Iterator[str]:
    """Evaluation compared with plain Keras."""
    yield "## Evaluation\n"
    yield (
        f"Images per second of CPU time on {facts['cells'][0]['images']} images, medians. *Plain Keras* is "
        "`model.predict` on float arrays, with TensorFlow's default flags. *Ours* is the library's evaluation, which "
        "folds batch normalisation into the convolutions; *unfolded* is the same without folding. The ratio is ours to "
        "plain Keras. Folding copies the graph, which takes CPU time before the first image; the last column is the "
        "number of images after which it pays off.\n"
    )
    yield table(
        ["model", "pixels", "plain Keras", "unfolded", "ours", "ratio", "ours / unfolded", "folding pays off after"],
        [prediction_row(cell) for cell in facts["cells"]],
    )


def prediction_row(cell: Facts) -> list[object]:
    """One network at one size."""
    speeds = [cell[f"{side}_per_cpu_second"] for side in ("plain", "ours", "folded")]
    plain, unfolded, ours = speeds
    images = cell["folding_pays_after_images"]
    row = [
        f"`{cell['model']}`",
        cell["size"],
        *(f"{np.median(speed):.1f}" for speed in speeds),
        f"**{np.median(np.divide(ours, plain)):.2f}**",
    ]
    if not cell["layers_folded"]:
        return [*row, "", "nothing to fold"]
    after = "never" if images is None else "the first" if images <= 0 else f"{images:,}"
    return [*row, f"{np.median(np.divide(ours, unfolded)):.2f}", after]


def batches(facts: Facts) -> Iterator[str]:
    """Prediction for many pictures."""
    yield "## Predictions for many pictures\n"
    if found := facts.get("overlap"):
        yield (
            f"`cnnreg predict` on {found['images']:,} photographs with `{found['model']}` at {found['size']} pixels: "
            f"{found['images_per_second']:,.0f} pictures per second. Decoding and computing both use all processors, "
            "so they cannot take less than the processor time of both divided by the number of processors; the ratio "
            "is to this time, or to that of either alone if it is larger. All measurements, in seconds:\n"
        )
        rows = [
            [label, *(", ".join(map(str, found[key][name])) for key in ("seconds", "processor_seconds"))]
            for name, label in (("decode", "decoding alone"), ("compute", "computing alone"), ("both", "predicting"))
        ]
        yield table(["", "time", "processor time"], rows)
        decoding, computing, both = (
            np.array(found["processor_seconds"][name]) for name in ("decode", "compute", "both")
        )
        yield (
            f"Ratio, median: **{found['ratio']:.2f}**, which includes waiting for other load on the machine. The "
            "processor time of predicting, which does not, is "
            f"**{np.median(both / (decoding + computing)):.2f}** times that of decoding and computing.\n"
        )
    if found := facts.get("memory"):
        yield (
            f"Resident memory while a folder of {found['links']:,} links to a small picture is predicted with LeNet-5, "
            f"at {found['images_per_second']:,.0f} pictures per second, and written as lines of JSON:\n"
        )
        yield table(["pictures", *found["resident_mb"]], [["MB", *found["resident_mb"].values()]])


def serving(facts: Facts) -> Iterator[str]:
    """The load test of the server."""
    yield "## Server\n"
    yield (
        f"`cnnreg serve` with {facts['model']}, on the machine of its clients. Each client sends one photograph after "
        "another; times are from a request to its answer.\n"
    )
    columns = ("clients", "requests", "failed", "requests_per_second", "p50_ms", "p95_ms")
    names = ["clients", "requests", "failed", "requests per second", "p50, ms", "p95, ms"]
    yield table(names, [[row[column] for column in columns] for row in facts["loads"]])


def exports(facts: Facts) -> Iterator[str]:
    """The size of each model's files, and how far their outputs are from the network's."""
    yield "## Exported files\n"
    yield (
        f"Size in MB of each model's file in float32 with random weights at {facts['size']} pixels, and the largest "
        f"difference of a probability from the network in Keras on {facts['images']} random images, as `cnnreg export` "
        "checks it. All files gave each image the same most probable class as the network. The script can measure "
        "single models again, so the line below the table is about the last ones.\n"
    )
    found = {(row["model"], row["format"]): row["exported"] for row in facts["rows"]}
    assert all(cell["agreement"] == 1 for cell in found.values())
    kinds = {"saved_model": "SavedModel", "onnx": "ONNX", "litert": "LiteRT", "openvino": "OpenVINO"}
    rows = [
        [f"`{model}`", *(export_cell(found[model, kind]) for kind in kinds)]
        for model in sorted({model for model, _ in found})
    ]
    yield table(["model", *kinds.values()], rows)


def export_cell(measured: Facts) -> str:
    """The size and the difference of one file."""
    difference = measured["largest_difference"]
    return f"{measured['size'] / 1e6:.1f}, {f'{difference:.0e}' if difference else 'none'}"


def scaling(facts: Facts, pictures: Path) -> Iterator[str]:
    """How cost grows with the size of images, batches and datasets."""
    plot_scaling(facts, pictures / "scaling.png")
    yield "## How cost grows\n"
    yield (
        f"Training steps of `{facts['model']}` by image and batch size, and the pipeline alone by dataset size, on "
        f"images of {facts['tiny_size']} pixels. CPU time depends less on other load than images per second. Memory is "
        "the process's own, without files mapped into memory.\n"
    )
    yield "![CPU time and memory by image size, batch size and dataset size](images/scaling.png)\n"
    columns = ["images/s", "CPU time per image, ms", "memory, MiB"]
    yield table(
        ["pixels", "batch", *columns], [[row["size"], row["batch_size"], *figures(row)] for row in facts["steps"]]
    )
    yield table(
        ["images", "source", *columns],
        [[f"{row['images']:,}", row["source"], *figures(row)] for row in facts["pipeline"]],
    )


def figures(row: Facts) -> list[str]:
    """Speed, CPU time and memory of one row of the scaling tables."""
    speed = np.median(row["images_per_second"])
    return [f"{speed:,.0f}" if speed >= 100 else f"{speed:.1f}", f"{row['cpu_ms_per_image']:.2f}", row["memory_mib"]]


def conditions(facts: Facts) -> str:
    """How and where something was measured."""
    loads, cpus = facts["load_average"], facts["machine"]["cpus"]
    return (
        f"*`{facts['command']}`, {facts['date'][:10]}; load average {loads['start']} at the start, {loads['end']} at "
        f"the end (more than {cpus}: the machine was shared). {place(facts)}*\n"
    )


def place(facts: Facts) -> str:
    """A machine, its versions and its flags."""
    machine = facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    flags = "; ".join(
        " ".join([f"{side}:", *(f"{name}={value}" for name, value in given.items())])
        for side, given in facts["flags"].items()
    )
    return (
        f"{machine['cpus']} cores of {machine['processor']}, {machine['memory'] / 2**30:.0f} GiB; {versions}; "
        f"flags: {flags}."
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def plot_minutes(results: Sequence[Facts], path: Path) -> None:
    """Validation accuracy of each run against minutes, one panel per model."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(facts["model"] for facts in results))
    rows = -(-len(models) // PANELS)
    figure = Figure(figsize=(5 * PANELS, 4.5 * rows), layout="constrained")
    panels = figure.subplots(rows, PANELS, squeeze=False, sharex=True, sharey=True).flat
    for axes in panels[len(models) :]:
        axes.remove()
    for axes, model in zip(panels[: len(models)], models, strict=True):
        of_model = [facts for facts in results if facts["model"] == model and facts["split"] == "stratified"]
        for other, facts in enumerate(of_model, start=4):
            colour = COLOURS.get(facts["recipe"]["name"], f"C{other}")
            for number, run in enumerate(facts["runs"]):
                label = f"{recipe_name(facts)}\non {facts['machine']['processor']}" if number == 0 else None
                history = run["history"]
                axes.plot(history["minutes"], history["val_accuracy"], color=colour, label=label, alpha=0.7)
        if model in ARTICLE:
            axes.axhline(ARTICLE[model], color="grey", linestyle=":", label="reported by the article")
        axes.set(title=model, xlabel="minutes", ylabel="validation accuracy", xscale="log", ylim=(0, 1))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.tick_params(labelbottom=True)  # shared axes label only the lowest row, which may have gaps
        axes.grid(alpha=0.3)
        # The legend is below the panel, because no corner is free of curves in every panel.
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize="small")
    write(figure, path)


def plot_scaling(facts: Facts, path: Path) -> None:
    """CPU time per image and memory, against three sizes."""
    from matplotlib.figure import Figure

    steps, pipeline = facts["steps"], facts["pipeline"]
    by_pixels = sorted((row for row in steps if row["batch_size"] == 32), key=lambda row: int(row["size"]))
    by_batch = sorted((row for row in steps if row["size"] == 96), key=lambda row: int(row["batch_size"]))
    curves: list[tuple[int, str, list[int], list[Facts]]] = [
        (0, facts["model"], [row["size"] ** 2 for row in by_pixels], by_pixels),
        (1, facts["model"], [row["batch_size"] for row in by_batch], by_batch),
    ]
    for source in dict.fromkeys(row["source"] for row in pipeline):
        rows = [row for row in pipeline if row["source"] == source]
        curves.append((2, f"pipeline, {source}", [row["images"] for row in rows], rows))
    figure = Figure(figsize=(13, 7), layout="constrained")
    panels = figure.subplots(2, 3, sharex="col")
    for column, label, x, rows in curves:
        for panel, key in zip(panels[:, column], ("cpu_ms_per_image", "memory_mib"), strict=True):
            panel.plot(x, [row[key] for row in rows], "o-", label=label)
    titles = ("image size (batch 32)", "batch size (96 pixels)", "images in the dataset")
    for (upper, lower), title in zip(panels.T, titles, strict=True):
        upper.set(ylabel="CPU time per image, ms", ylim=(0, None))
        lower.set(ylabel="memory, MiB", xlabel=title, ylim=(0, None))
        upper.legend(frameon=False)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    panels[0, 0].set_xlim(0, None)
    panels[0, 0].set_xticks(curves[0][2], [f"{row['size']}²" for row in by_pixels])
    panels[0, 1].set_xticks(curves[1][2])
    panels[0, 2].set_xscale("log")
    write(figure, path)


def write(figure: Figure, path: Path) -> None:
    """Write a plot; the same data give the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=90, metadata={"Software": None})


def main() -> None:
    """Write the page and its plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write into (default: docs)")
    out: Path = parser.parse_args().out
    (out / "images").mkdir(parents=True, exist_ok=True)
    for picture in (out / "images").glob("confusion-*.png"):
        picture.unlink()  # its results may no longer exist
    (out / "results.md").write_text(page(out / "images"), encoding="utf-8")


if __name__ == "__main__":
    main()
