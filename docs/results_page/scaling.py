"""How cost grows with images, batches and datasets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from docs.results_page.facts import Facts, table, write


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
