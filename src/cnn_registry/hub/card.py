"""The card of a published run: what it was trained on, how good it is, where its limits are, and how it is used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import PureWindowsPath
from typing import Any

from cnn_registry.data.form import IN_WORDS
from cnn_registry.data.pipeline.batches import CAFFE_MEAN, IMAGENET_DEVIATION, IMAGENET_MEAN, for_channels
from cnn_registry.export.facts import licence, resize_rule
from cnn_registry.export.readme import SHOW, SHOW_SEVERAL, picture_lines
from cnn_registry.networks.weights.safetensors_file import FILE
from cnn_registry.registry.policy import CORE
from cnn_registry.registry.spec import Pixels
from cnn_registry.report.glossary import TITLES
from cnn_registry.report.measures import Measure
from cnn_registry.report.summary import Summary
from cnn_registry.runs.run import Run
from cnn_registry.text import counted, printable, shorten

CONFIG, PREPROCESSOR = "config.json", "preprocessor.json"

METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "mean_average_precision": "mean_average_precision"}
"""What hubs call some of a report's measures."""

MOST_CLASSES = 100
"""Classes with a row of their own."""

UNKNOWN = "unknown"
"""The licence of weights for which none was named."""


@dataclass(frozen=True)
class Card:
    """The card of a run.

    Attributes:
        run: the run.
        summary: its report, if it has one.
        licence: of the weights.
        repository: ``"user/name"``.
        own_code: the classes of the network that are not Keras' own; ``None`` where Keras cannot make it from JSON.
    """

    run: Run
    summary: Summary | None
    licence: str
    repository: str
    own_code: set[str] | None

    @property
    def title(self) -> str:
        """What was trained on what."""
        record = self.run.record
        return f"{record.model.spec['name']} on {record.data.name}"

    def text(self) -> str:
        """The whole card."""
        sections = (
            f"# {_plain(self.title)}",
            self._introduction(),
            "## Data",
            self._data(),
            "## Results",
            self._results(),
            "## Limits",
            self._limits(),
            "## Licence",
            self._licence(),
            "## Use with cnn_registry",
            self._with_library(),
            "## Use without it",
            self._without_library(),
        )
        return f"---\n{self._front_matter()}\n---\n\n" + "\n\n".join(sections) + "\n"

    def _front_matter(self) -> str:
        """What a hub reads."""
        hub = import_module("huggingface_hub")
        data, spec = self.run.record.data, self.run.record.model.spec
        slug = re.sub(r"[^a-z0-9]+", "-", data.name.lower()).strip("-") or "images"
        results = [
            hub.EvalResult(
                task_type="image-classification",
                dataset_type=slug,
                dataset_name=printable(data.name),
                dataset_split="validation",
                metric_type=METRICS[key],
                metric_name=TITLES[key],
                metric_value=round(measure.value, 4),
            )
            for key, measure in self._measures().items()
            if key in METRICS
        ]
        card = hub.ModelCardData(
            library_name=CORE,
            license=self.licence,
            pipeline_tag="image-classification",
            tags=["image-classification", "keras", CORE, str(spec["family"]), str(spec["name"])],
            model_name=printable(self.title),
            eval_results=results or None,
        )
        return str(card.to_yaml()).strip()

    def _measures(self) -> dict[str, Measure]:
        if self.summary is None:
            return {}
        return {"accuracy": Measure(self.summary.accuracy), **self.summary.measures}

    def _introduction(self) -> str:
        record = self.run.record
        spec, form = record.model.spec, record.form
        kind = "all of the classes that it shows" if record.model.multi_label else "one class"
        distribution, paper = spec["provider"]["distribution"], spec.get("paper")
        source = f" of the package `{distribution}`" if distribution else ""
        cited = f" ({_plain(paper['title'])}, {paper['year']})" if isinstance(paper, dict) else ""
        parameters = f"{len(record.data.class_names)} classes, {form} pixels, {IN_WORDS[form.channels]}"
        return (
            f"A convolutional network, `{spec['name']}`{source}{cited}, that assigns {kind} to a picture: "
            f"{parameters}. It was trained with cnn_registry; its status is: {record.status}."
        )

    def _data(self) -> str:
        record = self.run.record
        parts = record.split
        listed = ", ".join(
            f"{counted(len(ids), 'image')} for {what}"
            for ids, what in ((parts.train, "training"), (parts.val, "validation"), (parts.test, "testing"))
            if ids
        )
        lines = [
            f"- Dataset: {_code(record.data.name)}; {listed} (split: {_code(parts.name)}).",
            f"- Classes: {', '.join(map(_code, record.data.class_names[:MOST_CLASSES]))}"
            + (" and more, see labels.txt." if len(record.data.class_names) > MOST_CLASSES else "."),
        ]
        if record.data.unused:
            lines.append(f"- {counted(len(record.data.unused), 'image')} could not be read and were not used.")
        if weights := record.recipe.fine_tuning.weights:
            lines.append(f"- Training began with the weights {_code(shown_source(weights))}.")
        lines.append("- The settings of the training are in `recipe.toml`, its curves in `history.csv`.")
        return "\n".join(lines)

    def _results(self) -> str:
        if self.summary is None:
            return "This run was not evaluated."
        rows = [
            (TITLES.get(key, key.replace("_", " ")), f"{measure.value:.3f}", _interval(measure))
            for key, measure in self._measures().items()
        ]
        if self.summary.cross_entropy is not None:
            rows.append((TITLES["cross_entropy"], f"{self.summary.cross_entropy:.3f}", ""))
        found = [
            f"Measured on {counted(self.summary.images, 'image')} ({_plain(self.summary.part)}), with the weights of "
            "the best epoch.",
            _table(("measure", "value", "95 % interval"), rows),
        ]
        if len(self.summary.classes) <= MOST_CLASSES:
            per_class = [
                (_code(row.name), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", str(row.images))
                for row in self.summary.classes
            ]
            found.append(_table(("class", "precision", "recall", "F1", "images"), per_class))
        return "\n\n".join(found)

    def _limits(self) -> str:
        record = self.run.record
        lines = list(map(_plain, self.summary.remarks if self.summary else ()))
        counts = self.summary.data.train if self.summary and self.summary.data else ()
        if counts and max(counts) > 2 * max(min(counts), 1):
            lines.append(f"The classes had between {min(counts):,} and {max(counts):,} training images.")
        lines.append(
            "The validation images come from the same source as the training images, and chose the best epoch. Expect "
            "lower figures on pictures from elsewhere."
        )
        if not record.model.multi_label:
            lines.append("Every picture gets one of these classes, also one that shows something else.")
        lines.append("Nothing is known of how the network treats groups of people or rare conditions.")
        return "\n".join(f"- {line}" for line in lines)

    def _licence(self) -> str:
        distribution = self.run.record.model.spec["provider"]["distribution"]
        weights = (
            "No licence was named for these weights: ask whoever published them before you use them."
            if self.licence == UNKNOWN
            else f"The weights: {_code(self.licence)}."
        )
        code = f" The code of the architecture (`{distribution}`): {_code(licence(distribution))}."
        return f"{weights}{code if distribution else ''} The images may have terms of their own."

    def _with_library(self) -> str:
        provider = self.run.record.model.spec["provider"]
        distribution = provider["distribution"]
        installed = [f"'{CORE}[cpu,hub]'", *([distribution] if distribution else [])]
        missing = "" if distribution else "The model was registered in a session; register it before it is used.\n\n"
        address = f"hf://{self.repository}"
        return (
            f"{missing}    pip install {' '.join(installed)}\n"
            f"    cnnreg predict {address} photo.jpg\n"
            f"    cnnreg train {self.run.record.model.spec['name']} --data FOLDER --weights {address}\n\n"
            f'In Python, `cnn_registry.load_run("{address}")` is the run, and its `model()` the network.'
        )

    def _without_library(self) -> str:
        if self.own_code is None:
            return (
                f"`{FILE}` has the weights by the paths of their variables. Keras cannot make this network from JSON, "
                "so its package is needed for the network itself."
            )
        needed = ""
        if self.own_code:
            names = ", ".join(map(_code, sorted(self.own_code)))
            needed = f"The network has code of its own ({names}): import its package first.\n\n"
        record = self.run.record
        code = without_library(record.recipe.pixels, record.form, several=record.thresholds is not None)
        return (
            f"{needed}    pip install keras tensorflow safetensors pillow\n\n"
            "Save this as `predict.py` in a folder with the files of this repository, and run "
            f"`python predict.py photo.jpg` there:\n\n```python\n{code}\n```\n\n{resize_rule(record.form)}"
        )


def without_library(pixels: Pixels, form: Any, *, several: bool) -> str:
    """Lines that predict a picture, the first argument, with Keras alone."""
    facts = f'json.loads(Path("{PREPROCESSOR}").read_text("utf-8"))'
    return "\n".join(
        [
            "import json, sys",
            "from pathlib import Path",
            "import keras",
            "import numpy as np",
            "from PIL import Image, ImageOps",
            "from safetensors.numpy import load_file",
            f'model = keras.models.model_from_json(Path("{CONFIG}").read_text("utf-8"))',
            f'tensors = load_file("{FILE}")',
            "for weight in model.weights:",
            "    weight.assign(tensors[weight.path])",
            f'labels = {facts}["labels"]',
            *([f'thresholds = {facts}["thresholds"]'] if several else []),
            picture_lines(form),
            "x = np.array(picture, np.float32)",
            f"x = {_scaled(pixels, form.channels)}",
            "probabilities = model.predict(np.float32(x)[None], verbose=0)[0]",
            SHOW_SEVERAL if several else SHOW,
        ]
    )


def _scaled(pixels: Pixels, channels: int) -> str:
    """What makes the network's pixels of ``x``, as `scale` does."""

    def listed(values: Any, of_alpha: float) -> str:
        return str([round(float(value), 6) for value in for_channels(values, channels, of_alpha)])

    if pixels == "unit":
        return "x / 255"
    if pixels == "signed":
        return "x / 127.5 - 1"
    if pixels == "caffe":
        order = {1: "x", 3: "x[..., ::-1]", 4: "x[..., [2, 1, 0, 3]]"}[channels]
        return f"{order} - {listed(CAFFE_MEAN, 0)}"
    return f"(x / 255 - {listed(IMAGENET_MEAN, 0)}) / {listed(IMAGENET_DEVIATION, 1)}"


def shown_source(weights: str) -> str:
    """Where weights came from: published ones or an address as they are, a file of the user's without its folder."""
    file = PureWindowsPath(weights)  # which takes both kinds of slashes
    return file.name if ":" not in weights or file.drive else weights


def _interval(measure: Measure) -> str:
    return "" if measure.low is None or measure.high is None else f"{measure.low:.3f} to {measure.high:.3f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """A text of somebody else's as plain words of Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&@])", r"\\\1", shorten(printable(text), 300))


def _code(text: str) -> str:
    """A name as code in Markdown, which nothing in it can end."""
    return f"`{shorten(printable(text), 100).replace('`', chr(39)).replace('|', '/') or ' '}`"
