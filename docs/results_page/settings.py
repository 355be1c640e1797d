"""What settings of recipes do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from docs.results_page.facts import Facts, table


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
