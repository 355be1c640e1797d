"""Write the gallery to ``build/website``: a diagram of each model's stages, drawn from the network's graph.

A network is built without weights, which takes seconds for the large ones, so the drawings are kept in ``.cache``.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterator
from html import escape
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from cnn_registry import ModelSpec, get_spec, list_models

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "gallery"

HEAD = """# Gallery of models

Each drawing shows a network from left to right, as its graph has it: the image, the last map of each size that the
model names as a feature, and the classes. The taller a block, the larger the map; the wider, the more channels. The
numbers above an arrow are the layers with weights on the way and their parameters, for 1000 classes.
[All numbers](models.md) are in one table.
"""

WIDTH, HEIGHT, TOP, BOTTOM = 360, 170, 34, 132
"""The drawing, and where blocks begin and end at most, in units of the drawing."""


class Stage(NamedTuple):
    """A map, and what leads to it from the one before.

    Attributes:
        size: its height and width; ``None`` for the classes.
        channels: number of channels or classes.
        layers: layers with weights since the last map.
        parameters: their parameters.
    """

    size: tuple[int, int] | None
    channels: int
    layers: int
    parameters: int


def main() -> None:
    """Draw what is not drawn yet, and write the page."""
    ours = {path.parent.name for path in ROOT.glob("plugins/cnnreg-*/README.md")}
    specs = [spec for name in list_models() if (spec := get_spec(name)).provider.distribution in ours]
    specs.sort(key=lambda spec: spec.family)  # keeps the order of names within a family
    lines = [HEAD]
    for family, members in groupby(specs, lambda spec: spec.family):
        lines += [f"## {family}", "", '<div class="gallery" markdown="1">', ""]
        lines += [figure(spec) for spec in members]
        lines += ["</div>", ""]
    (ROOT / "build" / "website" / "gallery.md").write_text("\n".join(lines), encoding="utf-8")


def figure(spec: ModelSpec) -> str:
    """A drawing with its caption, as Markdown."""
    assert spec.paper is not None
    facts = f"{spec.total_params / 1e6:.1f} M parameters, {spec.macs / 1e9:.2f} G MACs"
    package = f"[{spec.provider.distribution}](packages/{spec.provider.distribution}.md)"
    caption = f"**{spec.name}**, [{spec.paper.year}]({spec.paper.url}): {facts}. {package}"
    return f'<figure markdown="1">\n{drawing(spec)}\n<figcaption markdown="span">{caption}</figcaption>\n</figure>\n'


def drawing(spec: ModelSpec) -> str:
    """The SVG of a model, from the cache if the model, Keras and this script are as they were."""
    facts = [spec.to_dict(), version("keras"), Path(__file__).read_text(encoding="utf-8")]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    file = CACHE / f"{spec.name}-{digest}.svg"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(svg(spec.name, list(stages(spec))), encoding="utf-8")
        temporary.replace(file)
    return file.read_text(encoding="utf-8")


def stages(spec: ModelSpec) -> Iterator[Stage]:
    """The maps of a network in their order, read from its graph."""
    import keras

    from cnn_registry import create_model

    with keras.StatelessScope(initialize_variables=False):
        model = create_model(spec.name)
    height, width, channels = spec.input_shape
    yield Stage((height, width), channels, 0, 0)
    names = {feature.layer for feature in spec.features.values()}
    since: Counter[str] = Counter()
    for layer in model.layers:
        since["layers"] += len([inner for inner in inside(layer) if inner.weights])
        since["parameters"] += layer.count_params()
        if layer.name in names:
            _, height, width, channels = layer.output.shape
            yield Stage((height, width), channels, since["layers"], since["parameters"])
            since.clear()
    yield Stage(None, int(model.output.shape[-1]), since["layers"], since["parameters"])
    keras.utils.clear_session(free_memory=False)


def inside(layer: Any) -> list[Any]:
    """The layer, or the layers of a model in the model."""
    return [inner for each in layer.layers for inner in inside(each)] if hasattr(layer, "layers") else [layer]


def svg(name: str, found: list[Stage]) -> str:
    """The drawing; its lines and letters have the colour of the text around."""
    largest = max(stage.size[0] for stage in found if stage.size)
    step = WIDTH / len(found)
    middle = (TOP + BOTTOM) / 2
    said = ", ".join(f"{label(stage)} with {stage.channels} channels" for stage in found[:-1])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Stages of {escape(name)}: {escape(said)}" font-size="9" text-anchor="middle" fill="currentColor">'
    ]
    for number, stage in enumerate(found):
        x = step * (number + 0.5)
        tall = (BOTTOM - TOP) * math.log2(1 + (stage.size[0] if stage.size else 1)) / math.log2(1 + largest)
        wide = min(3 + 2 * math.log2(stage.channels), step - 14)
        parts.append(
            f'<rect x="{x - wide / 2:.1f}" y="{middle - tall / 2:.1f}" width="{wide:.1f}" height="{tall:.1f}" rx="2" '
            f'fill="#5c6bc0" fill-opacity="{0.25 + 0.6 * number / len(found):.2f}" stroke="currentColor" '
            f'stroke-width="0.5"/>'
        )
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 14}">{label(stage)}</text>')
        parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 26}">{stage.channels}</text>')
        if number:
            before = x - step / 2
            parts.append(
                f'<path d="M{before - 4:.1f} {middle} h8 m-3 -3 l3 3 l-3 3" fill="none" stroke="currentColor"/>'
            )
            parts.append(f'<text x="{before:.1f}" y="12">{stage.layers}</text>')
            parts.append(f'<text x="{before:.1f}" y="23" font-size="8">{short(stage.parameters)}</text>')
    return "".join([*parts, "</svg>"])


def label(stage: Stage) -> str:
    """What is below a block."""
    if stage.size is None:
        return "classes"
    height, width = stage.size
    return str(height) if height == width else f"{height}x{width}"


def short(count: int) -> str:
    """A number of parameters in few letters."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


if __name__ == "__main__":
    main()
