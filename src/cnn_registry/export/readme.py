"""The README of an export: a dozen lines that predict with it where this library is not installed."""

from __future__ import annotations

import re
from typing import Any

from cnn_registry.data.form import FILL, Form
from cnn_registry.text import printable

from .formats import INPUT, OUTPUT, ExportFormat, FormatName

OPENED = [
    "picture = ImageOps.exif_transpose(Image.open(sys.argv[1]))",
    'assert picture.mode[0] not in "IF", "expected 8 bits per value; scale the picture first"',
]
"""Lines that open a picture. Pillow would cut grey values of more bits off, not scale them as the training did."""

OVER_WHITE = 'picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))'
"""Lays it over white where it is transparent; converting it to RGB alone would show what nobody sees."""

COLOURS = {
    1: f'{OVER_WHITE}.convert("RGB").convert("L")',
    3: f'{OVER_WHITE}.convert("RGB")',
    4: 'picture = picture.convert("RGBA")',
}
"""The line that makes its channels, by their number."""

FIT = {
    "squash": "{picture}.resize({frame}, Image.LANCZOS)",
    "crop": "ImageOps.fit({picture}, {frame}, Image.LANCZOS)",
    "letterbox": "ImageOps.pad({picture}, {frame}, Image.LANCZOS, color={fill})",
}
"""What makes a picture as wide and high as it has to be, by the rule."""

SHOW = """\
for i in probabilities.argsort()[::-1][:3]:
    print(f"{probabilities[i]:.4f} {labels[i]}")"""

SHOW_SEVERAL = """\
for label, probability, threshold in zip(labels, probabilities, thresholds):
    print(f"{probability:.4f} {'shown' if probability >= threshold else '-':5} {label}")"""

SEVERAL = """\
- An image may show several classes, or none: those whose probability reaches their threshold. The `thresholds` are in
  the metadata, in the order of the labels, and were chosen for the highest F1 on the validation images.
"""

RUNTIMES: dict[FormatName, tuple[str, str]] = {
    "keras": (
        "pathlib, keras",
        f"""\
model = keras.models.load_model("model.keras")
labels = json.loads(pathlib.Path("preprocess.json").read_text("utf-8"))["labels"]
@PICTURE
probabilities = model.predict(np.array(picture)[None], verbose=0)["{OUTPUT}"][0]""",
    ),
    "saved_model": (
        "pathlib, tensorflow as tf",
        f"""\
model = tf.saved_model.load("1")
labels = json.loads(pathlib.Path("1/assets/metadata.json").read_text("utf-8"))["labels"]
@PICTURE
probabilities = model.signatures["serving_default"]({INPUT}=np.array(picture)[None])["{OUTPUT}"].numpy()[0]""",
    ),
    "onnx": (
        "onnxruntime",
        f"""\
session = onnxruntime.InferenceSession("model.onnx")
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
@PICTURE
probabilities = session.run(["{OUTPUT}"], {{"{INPUT}": np.array(picture)[None]}})[0][0]""",
    ),
    "litert": (
        "zipfile, ai_edge_litert.interpreter as litert",
        f"""\
run = litert.Interpreter("model.tflite").get_signature_runner()
labels = json.loads(zipfile.ZipFile("model.tflite").read("metadata.json"))["labels"]
@PICTURE
probabilities = run({INPUT}=np.array(picture)[None])["{OUTPUT}"][0]""",
    ),
    "openvino": (
        "openvino",
        f"""\
model = openvino.Core().compile_model("model.xml", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
labels = json.loads(openvino.Core().read_model("model.xml").get_rt_info(["cnn_registry", "labels"]).astype(str))
@PICTURE
probabilities = model({{"{INPUT}": np.array(picture)[None]}})["{OUTPUT}"][0]""",
    ),
}
"""What each format's code imports besides, and its lines from the file to the probabilities."""

PACKAGES: dict[FormatName, str] = {
    "keras": "keras tensorflow pillow",
    "saved_model": "tensorflow pillow",
    "onnx": "onnxruntime pillow",
    "litert": "ai-edge-litert pillow",
    "openvino": "openvino pillow",
}


def code(name: FormatName, form: Form, *, several: bool = False) -> str:
    """Lines that predict a picture without this library.

    They print the three most probable classes; where a picture may show ``several``, all classes, and whether each
    reaches its threshold.
    """
    imported, lines = RUNTIMES[name]
    if several:  # the thresholds are where the labels are
        lines = re.sub(
            r"^labels = .*$", lambda line: f"{line[0]}\n{line[0].replace('labels', 'thresholds')}", lines, flags=re.M
        )
    head = f"import json, sys\nimport {imported}\nimport numpy as np\nfrom PIL import Image, ImageOps"
    return "\n".join([head, lines.replace("@PICTURE", picture_lines(form)), SHOW_SEVERAL if several else SHOW])


def picture_lines(form: Form) -> str:
    """Lines from the name of a file to a picture in the form."""
    frame, fill = form.frame[::-1], FILL[form.channels]
    lines = [*OPENED, COLOURS[form.channels]]
    if form.channels == 4:  # Pillow would multiply the colours by alpha
        each = FIT[form.resize].format(picture="band", frame=frame, fill="fill")
        pairs = f"zip(picture.split(), {fill})" if form.resize == "letterbox" else "picture.split()"
        names = "band, fill" if form.resize == "letterbox" else "band"
        lines.append(f'picture = Image.merge("RGBA", [{each} for {names} in {pairs}])')
    else:
        shown = fill[0] if form.channels == 1 else fill
        lines.append(f"picture = {FIT[form.resize].format(picture='picture', frame=frame, fill=shown)}")
    if form.frame != form.size:
        top, left = form.corner
        lines.append(f"picture = picture.crop({(left, top, left + form.width, top + form.height)})")
    if form.channels == 1:
        lines.append("picture = np.array(picture)[..., None]")
    return "\n".join(lines)


def readme(kind: ExportFormat, facts: dict[str, Any], form: Form, table: str) -> str:
    """The text of the README.

    Args:
        kind: the format.
        facts: what travels in the file.
        form: the form of the pictures.
        table: what was measured, in Markdown.
    """
    source = f"the network of the run `{printable(facts['run'])}`" if "run" in facts else "the network"
    return f"""\
# {facts["model"]} as {kind.title}

`{kind.path}` holds {source} in {facts["precision"]}, for \
{len(facts["labels"])} classes.

- Input `{facts["input"]}`. Scaling is in the graph.
- Output `{facts["output"]}`.
- {facts["resize"]}
{SEVERAL if "thresholds" in facts else ""}\
- The class names (`labels`), this rule, the run, the versions and the licence (`{printable(facts["licence"])}`) \
are in the file's own metadata.

## Predict

    pip install {PACKAGES[kind.name]}

Save this as `predict.py` in this folder, and run `python predict.py photo.jpg` here:

```python
{code(kind.name, form, several="thresholds" in facts)}
```

## Checked

{table}

`export.json` has the same figures.
"""
