"""Write a run's report: data and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from cnn_registry.inference.evaluate import Evaluation
from cnn_registry.runs.history import Epoch
from cnn_registry.runs.run import Run

from .fonts import lettering
from .plots import plot_confusion, plot_curves


def write_report(run: Run, history: Sequence[Epoch], evaluation: Evaluation) -> None:
    """Write ``report.json``, ``curves.png`` and ``confusion.png`` into the run directory."""
    report = evaluation.report()
    run.write("report.json", json.dumps(report, indent=2) + "\n")
    name = f"{run.record.model.spec['name']} on {run.record.data.name}"
    letters = lettering([name, *evaluation.class_names])
    plot_curves(history, run.path / "curves.png", title=name, letters=letters)
    plot_confusion(
        np.array(report["confusion"]),
        evaluation.class_names,
        run.path / "confusion.png",
        title=f"{name}: {evaluation.accuracy:.1%} of {report['images']} {evaluation.part}, best weights",
        letters=letters,
    )
