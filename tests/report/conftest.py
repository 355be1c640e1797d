"""Runs of any number of classes with any names, which nobody has to train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cnn_registry.inference.evaluation import Evaluation
from cnn_registry.report.facts import DataFacts, ImageSizes
from cnn_registry.report.summary import Summary, summarise
from cnn_registry.runs.run import Run, load_run

Fabricated = tuple[Run, Summary]
Fabricate = Callable[[Sequence[str]], Fabricated]


def fabricated(run: Run, names: Sequence[str], images: int | None = None) -> Fabricated:
    """``run`` as if it had been trained on classes of these names, and a summary of what it could have predicted."""
    generator, classes = np.random.default_rng(0), len(names)
    images = images or max(60, 10 * classes)
    labels = np.arange(images) % classes
    logits = generator.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), labels] += 2 + np.log(classes) / 2
    logits[np.arange(images), (labels + 1) % classes] += labels % 3
    powers = np.exp(logits)
    ids = [f"{names[label]}/{number:05}.jpg" for number, label in enumerate(labels.tolist())]
    record = run.record
    record = record.model_copy(
        update={
            "model": record.model.model_copy(update={"num_classes": classes}),
            "data": record.data.model_copy(update={"class_names": list(names), "name": names[0]}),
            "split": record.split.model_copy(update={"val": ids}),
        }
    )
    evaluation = Evaluation(tuple(names), labels, powers / powers.sum(axis=1, keepdims=True), "validation images")
    counts = tuple(np.bincount(labels, minlength=classes).tolist())
    sizes = ImageSizes(1000, (499.0, 512.0, 1057.0), (499.0, 500.0, 959.0), 0.25, ((666, 500, 0.2), (500, 500, 0.05)))
    facts = DataFacts(tuple(4 * count for count in counts), counts, (0,) * classes, sizes)
    return replace(run, record=record), summarise(evaluation, [], facts, evaluation.remarks())


@pytest.fixture
def fabricate(trained: Path) -> Fabricate:
    """`fabricated` for the trained run of the test."""
    return lambda names: fabricated(load_run(trained), names)
