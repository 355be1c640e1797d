"""``cnnreg info``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from cnn_registry.errors import AmbiguousNameError, UsageError
from cnn_registry.registry.catalogue import Ambiguous
from cnn_registry.registry.entries import Broken
from cnn_registry.registry.models import find_model
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.progress import working

from .common import ImageSizeType, common_options, complete_models, json_option
from .listing import as_dict
from .output import print_facts, print_json, tell


@click.command("info")
@click.argument("name", shell_complete=complete_models)
@click.option("--graph", is_flag=True, help="Build the network, and measure its cost and feature maps.")
@click.option(
    "--image-size",
    type=ImageSizeType(),
    metavar="PIXELS|HxW",
    help="With --graph: edge length, or height and width, in pixels (default: the model's).",
)
@json_option
@common_options
def command(name: str, graph: bool, image_size: int | tuple[int, int] | None, as_json: bool) -> None:
    """Show details of the model NAME.

    If its plugin is broken, show the traceback.
    """
    if image_size and not graph:
        raise click.UsageError("--image-size is for --graph.", click.get_current_context())
    found = find_model(name)
    if isinstance(found, Ambiguous):
        raise AmbiguousNameError("model", found.name, found.providers)
    measured = _graph_facts(found, image_size) if graph and isinstance(found, ModelSpec) else {}
    if as_json:
        details = {"traceback": found.details} if isinstance(found, Broken) else {}
        print_json(as_dict(found) | details | ({"graph": measured} if measured else {}))
    elif isinstance(found, ModelSpec):
        _print_facts(found, measured)
    else:
        for line in found.details.splitlines():
            tell(line, wrap=False)
        tell(f"{found.entry.name} of {found.entry.distribution} is broken: {found.reason}")
    if isinstance(found, Broken):
        click.get_current_context().exit(1)


def _graph_facts(spec: ModelSpec, image_size: int | tuple[int, int] | None) -> dict[str, Any]:
    """Cost and feature maps, read from the graph; it is built without its weights."""
    from dataclasses import asdict

    from cnn_registry.backend.keras_internals import has_graph
    from cnn_registry.networks.build import build_graph
    from cnn_registry.networks.graph import cost

    size = (image_size, image_size) if isinstance(image_size, int) else image_size or spec.input_shape[:2]
    with working(f"Building {spec.name}", after=1.0):
        model = build_graph(spec, input_shape=(*size, spec.input_shape[2]))
    if not has_graph(model):
        raise UsageError(
            f"{spec.name} is neither a functional nor a sequential model, so it has no graph to measure; leave --graph "
            f"out."
        )
    maps = {feature: model.get_layer(part.layer).output.shape[1:] for feature, part in spec.features.items()}
    return {"input_shape": model.input_shape[1:], **asdict(cost(model)), "features": maps}


def _print_facts(spec: ModelSpec, measured: dict[str, Any]) -> None:
    height, width, channels = spec.input_shape
    facts = {
        "name": spec.name,
        "family": spec.family,
        "summary": spec.summary,
        "paper": f"{spec.paper.title} ({spec.paper.authors}, {spec.paper.year}) {spec.paper.url}" if spec.paper else "",
        "input": f"{height}x{width}x{channels}, at least {spec.min_size}x{spec.min_size}",
        "parameters": f"{spec.trainable_params:,} trainable, {spec.total_params:,} total, with 1000 classes",
        "MACs": f"{spec.macs:,} per image at that size" if spec.macs else "",
        "features": _maps({name: part.shape for name, part in spec.features.items()}),
        "auxiliary heads": ", ".join(f"{name} (loss weight {weight})" for name, weight in spec.aux_heads.items()),
        "weights": ", ".join(spec.weights),
        "options": ", ".join(f"{name}={default!r}" for name, default in spec.options.items()),
        "recipe": spec.default_recipe,
        "aliases": ", ".join(spec.aliases),
        "deprecated": f"use {spec.deprecated}" if spec.deprecated else "",
        "provided by": f"{spec.provider} ({spec.provider.object})",
    }
    for recipe, settings in spec.recipe_settings.items():
        facts[f"in recipe {recipe}"] = ", ".join(f"{key}={value}" for key, value in settings.items())
    if measured:
        graph_height, graph_width, _ = measured["input_shape"]
        facts[f"at {graph_height}x{graph_width}"] = (
            f"{measured['macs'] / 1e9:.3f} G MACs, {measured['parameter_bytes'] / 2**20:.1f} MiB of weights, "
            f"{measured['activation_bytes'] / 2**20:.1f} MiB of activations per image; {_maps(measured['features'])}"
        )
    print_facts({name: value for name, value in facts.items() if value})


def _maps(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in shapes.items())
