"""How accurate the models become, and how soon."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry.inference.confusion import Confusion
from cnn_registry.report.plots import plot_confusion
from docs.results_page.facts import Facts, place, table, write

ARTICLE = {"alexnet": 0.5, "vgg16": 0.6, "inception_v2": 0.7}
"""Validation accuracies that the article reports, for its networks and recipes at 224 pixels."""

ARTICLE_RECIPES = {"alexnet": "article", "vgg16": "article_96", "inception_v2": "article"}
"""The article's recipe for each network. VGG16 at 224 pixels is too slow on a CPU, so it runs at 96."""

PANELS = 3
"""Number of panels in a row of the plot of accuracy against minutes."""

COLOURS = {"default": "C0", "article": "C3", "article_96": "C3"}
"""Colours of these recipes' curves in that plot, the same in each panel."""


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
        plot_confusion(Confusion.of_rows(counts), names, pictures / f"confusion-{name}.png", title=title)
        yield f"### Classes of `{facts['model']}`, recipe {facts['recipe']['name']}\n"
        yield table(["class", "correct", "confused with"], list(class_rows(counts, names)))
        yield f"![Confusion matrix of {name}](images/confusion-{name}.png)\n"


def class_rows(counts: Any, names: Sequence[str]) -> Iterator[list[str]]:
    """One row per class."""
    for label, name in enumerate(names):
        wrong = [(count, names[other]) for other, count in enumerate(counts[label]) if count and other != label]
        listed = ", ".join(f"{other} ({count})" for count, other in sorted(wrong, reverse=True)[:3])
        yield [name, f"{counts[label][label]} of {counts[label].sum()}", listed]


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
