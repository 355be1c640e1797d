"""How fast pictures are read, predicted and served, and what exported files give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from docs.results_page.facts import Facts, table


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
