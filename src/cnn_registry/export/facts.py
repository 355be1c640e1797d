"""What travels with an exported network: class names, how pictures become its input, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

from cnn_registry.data.form import FILL, IN_WORDS, MODES, Form
from cnn_registry.registry.policy import CORE
from cnn_registry.runs.run import Run

from .formats import INPUT, OUTPUT, ExportFormat, WeightPrecision


def resize_rule(form: Form) -> str:
    """How a picture of any kind becomes the input."""
    height, width = form.frame
    framed = f"{height}x{width} pixels{'' if height == width else ' (height x width)'} with a Lanczos filter"
    how = {
        "squash": f"resize all of it to {framed}, whatever its shape",
        "crop": f"resize it, without changing its shape, to cover {framed}, and cut off what sticks out at two edges",
        "letterbox": f"resize it, without changing its shape, to lie centred within {framed}, and fill what is around "
        f"it with {', '.join(map(str, FILL[form.channels]))}",
    }[form.resize]
    mode = {1: "grey", 3: "RGB", 4: "RGBA, each channel of which is resized by itself"}[form.channels]
    cut = "" if form.frame == form.size else f", then cut {form} pixels out of the centre"
    white = "" if form.channels == 4 else "lay it over white where it is transparent, "
    return (
        f"Turn the picture upright as its EXIF data says, scale values of more than 8 bits to 8 bits, {white}convert "
        f"it to {mode}, and {how}{cut}."
    )


def facts_of(run: Run, kind: ExportFormat, precision: WeightPrecision, weights: str) -> dict[str, Any]:
    """The facts of an export of ``run``, JSON-ready."""
    model = run.record.model
    return describe(
        kind,
        precision,
        labels=run.record.data.class_names,
        form=run.record.form,
        model=model.spec["name"],
        distribution=model.spec["provider"]["distribution"],
        thresholds=run.record.thresholds,
    ) | {
        "run": run.location if run.is_fetched else run.path.resolve().name,
        "trained": run.record.created,
        "weights": weights,
    }


def describe(
    kind: ExportFormat,
    precision: WeightPrecision,
    *,
    labels: Sequence[str],
    form: Form,
    model: str,
    distribution: str | None,
    thresholds: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What is known of an export without its run.

    Args:
        kind, precision: the form.
        labels: names of the classes in the order of the probabilities.
        form: the form of the images.
        model: the model's name.
        distribution: the package with the architecture. ``licence`` is what it states, or ``"unknown"``.
        thresholds: the probability from which each class counts as shown, where an image may show several.
    """
    several = {} if thresholds is None else {"thresholds": list(thresholds)}
    return several | {
        "format": kind.name,
        "precision": precision,
        "model": model,
        "labels": list(labels),
        "input": f"{INPUT}: uint8 (N, {', '.join(map(str, form.shape))}), {IN_WORDS[form.channels]}",
        "output": f"{OUTPUT}: float32 (N, {len(labels)}), in the order of the labels",
        "size": form.height if form.height == form.width else list(form.size),
        "channels": MODES[form.channels],
        "fit": form.resize,
        "crop_share": form.crop_share,
        **({"fill": list(FILL[form.channels])} if form.resize == "letterbox" else {}),
        "resize": resize_rule(form),
        "licence": licence(distribution),
        "versions": installed_versions(
            [CORE, "keras", "tensorflow", *([distribution] if distribution else []), *_needs(kind)]
        ),
    }


def _needs(kind: ExportFormat) -> list[str]:
    return [*kind.modules.values(), *kind.int8_modules.values()]


def licence(distribution: str | None) -> str:
    """The licence that an installed distribution states, in one line."""
    try:
        stated = metadata.metadata(distribution or "")
    except (metadata.PackageNotFoundError, ValueError):
        return "unknown"
    classifiers = [text.rpartition(" :: ")[2] for text in stated.get_all("Classifier", []) if text.startswith("Licen")]
    expressions, texts = (stated.get_all(field, []) for field in ("License-Expression", "License"))
    named: list[str] = [*expressions, ", ".join(classifiers), *texts, "unknown"]
    return next(text for text in named if text).strip().split("\n")[0][:200]


def installed_versions(distributions: Iterable[str]) -> dict[str, str]:
    """The installed versions of those ``distributions`` that are installed; TensorFlow's by whatever name it is."""
    found = {}
    for name in distributions:
        for alias in (name, f"{name}-cpu"):
            try:
                found[name] = metadata.version(alias)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def as_texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts for formats that hold texts only: what is not a text is JSON."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in facts.items()
    }
