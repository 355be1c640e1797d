"""Checks of what a plugin declares. None of them imports Keras."""

from __future__ import annotations

import datetime
import inspect
import re
from collections.abc import Iterator

from cnn_registry.errors import CnnRegistryError
from cnn_registry.registry.spec import ModelSpec, Paper, Spec
from cnn_registry.text import suggestion

from .fresh_import import FreshImport
from .outcome import Causes, CheckSkipped, failed
from .subject import Subject

_URL = re.compile(r"https?://[^\s/.]+(\.[^\s/.]+)+(/\S*)?")
FIRST_YEAR = 1950

NOT_IMPORTED = "another process cannot import it"


def check_light_import(subject: Subject) -> None:
    """Declaring the model imports neither Keras nor TensorFlow, as a new process shows."""
    refuse_heavy_import(subject.spec, subject.imported, subject.causes)


def refuse_heavy_import(spec: Spec, imported: FreshImport, causes: Causes) -> None:
    """Raise if the declaring module imports a large package, or cannot be imported by a new process."""
    if imported.error and spec.provider.distribution is None:
        raise CheckSkipped(not_importable(spec))
    module = spec.build.__module__
    if imported.error:
        expected, fix = f"that a new process can import {module}", "Import what it needs where it is used."
        raise causes.meet(NOT_IMPORTED, failed(expected, imported.error, fix))
    if imported.heavy:
        raise failed(
            f"that importing {module} loads neither Keras nor a backend",
            f"{', '.join(imported.heavy)} in sys.modules",
            "Import the network inside the builder ('from ._network import build'), not at the top of the module.",
        )


def not_importable(spec: Spec) -> str:
    """Why checks in another process are skipped for something that was registered in this session."""
    return (
        f"{spec.build.__module__} declares it in this session, which a new process cannot repeat; declare it at the "
        f"top level of a module that can be imported by name"
    )


def check_spec(subject: Subject) -> None:
    """The spec is complete and well-formed: paper, input shape, recipe settings."""
    refuse_faults(_model_faults(subject.spec))


def refuse_faults(faults: Iterator[tuple[str, str]]) -> None:
    """Raise an error for the first of ``faults``, pairs of what was expected and what came."""
    for expected, came in faults:
        raise failed(expected, came, "Correct the declaration.")


def common_faults(spec: Spec) -> Iterator[tuple[str, str]]:
    """What is wrong with the fields that the specs of models and datasets share."""
    if not spec.summary.strip() or "\n" in spec.summary:
        yield "a summary of one line", repr(spec.summary)
    if spec.paper:
        yield from _paper_faults(spec.paper)


def _paper_faults(paper: Paper) -> Iterator[tuple[str, str]]:
    if not paper.title.strip() or not paper.authors.strip():
        yield "a paper with title and authors", f"{paper.title!r} by {paper.authors!r}"
    latest = datetime.datetime.now(datetime.UTC).year + 1
    if not FIRST_YEAR <= paper.year <= latest:
        yield f"a paper's year from {FIRST_YEAR} to {latest}", repr(paper.year)
    if not _URL.fullmatch(paper.url):
        yield "a paper's url that begins with http:// or https:// and a host", repr(paper.url)


def _model_faults(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    yield from common_faults(spec)
    if spec.paper is None:
        yield "the paper that the model follows", "none"
    if not spec.family.strip():
        yield "a family", repr(spec.family)
    if len(spec.input_shape) != 3 or not all(isinstance(n, int) and n > 0 for n in spec.input_shape):
        yield "input_shape (height, width, channels), three positive integers", repr(spec.input_shape)
    elif not 1 <= spec.min_size <= min(spec.input_shape[:2]):
        yield f"min_size from 1 to the default size {min(spec.input_shape[:2])}", str(spec.min_size)
    if spec.trainable_params <= 0 or spec.non_trainable_params < 0 or spec.macs < 0:
        counts = f"{spec.trainable_params}, {spec.non_trainable_params} and {spec.macs}"
        yield "a positive number of trainable parameters, and no negative number of others or of MACs", counts
    yield from _recipe_faults(spec)


def _recipe_faults(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    from cnn_registry.recipes.load import load_recipe, recipe_names

    if spec.default_recipe not in recipe_names():
        yield f"a default recipe among {', '.join(recipe_names())}", repr(spec.default_recipe)
    for name, settings in spec.recipe_settings.items():
        if name not in recipe_names():
            hint = suggestion(name, recipe_names())
            yield f"recipe_settings for recipes among {', '.join(recipe_names())}", f"{name!r}.{hint}"
            continue
        try:
            recipe = load_recipe(name).with_settings(settings)
        except CnnRegistryError as error:
            yield f"settings that the recipe {name!r} has", str(error)
            continue
        if unknown := recipe.model.keys() - spec.options.keys():
            yield f"model settings of the recipe {name!r} that are options of the model", ", ".join(sorted(unknown))


def check_docstring(subject: Subject) -> None:
    """The builder has a docstring."""
    if not (inspect.getdoc(subject.spec.build) or "").strip():
        raise failed(
            "a docstring",
            "none",
            "Describe in the builder what it builds, where it departs from the paper, and its options.",
        )
