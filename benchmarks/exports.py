"""Export every model with random weights to every format but Keras' own, and check each file as ``cnnreg export`` does.

    python -m benchmarks.exports [MODEL...]

Models that are named replace those in the earlier results.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cnn_registry import create_model, get_spec, list_models
from cnn_registry.backend import forget, standard_settings
from cnn_registry.data.form import Form
from cnn_registry.export.check import Sample
from cnn_registry.export.facts import describe
from cnn_registry.export.formats import FORMATS
from cnn_registry.export.workflow import export_model

from .common import CLASSES, RESULTS, Facts, begin, random_pixels, save

SIZE, IMAGES = 96, 32


def settle(model: Any, batch: Any) -> None:
    """Give batch normalisation the statistics of a batch: with those of an untrained network, signals die away.

    Raises:
        ValueError: the network says the same of every image, so that a comparison would show nothing.
    """
    momentum = {layer: layer.momentum for layer in model._flatten_layers() if hasattr(layer, "moving_mean")}
    for layer in momentum:
        layer.momentum = 0.0
    model(batch, training=True)
    for layer, value in momentum.items():
        layer.momentum = value
    if np.ptp(model.predict_on_batch(batch), axis=0).max() < 1e-5:
        raise ValueError(f"{model.name} predicts the same for every image.")


def measure(name: str) -> list[Facts]:
    """Export one model to every format."""
    images = random_pixels(IMAGES, SIZE)
    sample = Sample(images, np.arange(IMAGES), "random images")
    rows: list[Facts] = []
    with standard_settings(), tempfile.TemporaryDirectory() as folder:
        model = create_model(name, num_classes=CLASSES, input_shape=(SIZE, SIZE, 3))
        settle(model, images.source.read(np.arange(IMAGES)) / np.float32(255))
        for kind in FORMATS.values():
            if kind.name == "keras":  # whose runtime is the network's own
                continue
            facts = describe(
                kind,
                "float32",
                labels=images.dataset.class_names,
                form=Form.of(SIZE),
                model=name,
                distribution=get_spec(name).provider.distribution,
            )
            began = time.perf_counter()
            made = export_model(
                model,
                Path(folder) / kind.name,
                kind=kind,
                facts=facts,
                pixels="unit",
                sample=sample,
                calibration=images.source.read(np.arange(0)),
                size=4 * model.count_params(),
            )
            seconds = time.perf_counter() - began
            rows.append(
                {"model": name, "format": kind.name, "seconds": seconds}
                | {"trained": asdict(made.trained), "exported": asdict(made.exported)}
            )
            print(name, kind.name, f"{seconds:.0f} s", made.exported, flush=True)
    forget(model.variables)
    return rows


def main() -> None:
    """Measure, and save after each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*")
    named = parser.parse_args().models
    facts = begin("python -m benchmarks.exports")
    earlier = RESULTS / "exports.json"
    rows = json.loads(earlier.read_text(encoding="utf-8"))["rows"] if named and earlier.is_file() else []
    for name in named or list_models():
        rows = [row for row in rows if row["model"] != name] + measure(name)
        save("exports", facts | {"size": SIZE, "images": IMAGES, "rows": rows})


if __name__ == "__main__":
    main()
