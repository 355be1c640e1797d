"""Print ``docs/models.md``, the table of the models that ``cnnreg list`` shows. ``make docs`` runs it."""

from __future__ import annotations

from pathlib import Path

from cnn_registry import ModelSpec, get_spec, list_models

PLUGINS = Path(__file__).parents[1] / "plugins"

PRESETS = {"cnnreg-keras-hub"}
"""Packages that have one model with many presets, which `make` does not install."""

HEAD = """# Models

The models of the packages in `plugins/`; `make docs` writes this table from `cnnreg list`. Parameters are counted with
1000 classes at the default input size, and MACs (multiplications with addition) for one image of that size.

| model | package | paper | year | trainable parameters | total parameters | MACs | input | published weights |
|---|---|---|---|---:|---:|---:|---|---|"""


def table() -> str:
    """The text of the page."""
    ours = {folder.name for folder in PLUGINS.glob("cnnreg-*")} - PRESETS
    specs = [get_spec(name) for name in list_models()]
    return "\n".join([HEAD, *(row(spec) for spec in specs if spec.provider.distribution in ours), ""])


def row(spec: ModelSpec) -> str:
    """One model's row."""
    assert spec.paper is not None
    cells = [
        f"`{spec.name}`",
        f"[{spec.provider.distribution}](../plugins/{spec.provider.distribution}/README.md)",
        f"[{spec.paper.authors}]({spec.paper.url})",
        str(spec.paper.year),
        f"{spec.trainable_params:,}",
        f"{spec.total_params:,}",
        f"{spec.macs / 1e9:.3f} G",
        "x".join(map(str, spec.input_shape)),
        ", ".join(f"`{name}`" for name in spec.weights),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(table(), end="")
