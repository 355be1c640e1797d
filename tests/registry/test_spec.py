from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry.errors import DeclarationError
from cnn_registry.registry.datasets import register_dataset
from cnn_registry.registry.models import register_model
from cnn_registry.registry.spec import DatasetSpec, Feature, ModelSpec, Paper, Pretrained, Provider, Spec

PAPER = Paper(title="A tiny network", authors="Doe", year=2020, url="https://example.org")
COMMON: dict[str, Any] = {
    "name": "net",
    "summary": "A network",
    "build": print,
    "provider": Provider("module:net", "fake-a", "1.0"),
    "paper": PAPER,
}


def model(**fields: Any) -> ModelSpec:
    return ModelSpec(**COMMON | {"family": "tiny", "input_shape": (8, 9, 3), "trainable_params": 100} | fields)


def test_a_model_as_json() -> None:
    spec = model(
        non_trainable_params=7,
        aliases=("n",),
        options={"rate": 0.5, "variant": None},
        recipe_settings={"article": {"optimizer.learning_rate": 1e-5}},
        macs=9,
        features={"stride2": Feature("conv", (4, 5, 6))},
        aux_heads={"aux": 0.3},
    )
    assert json.loads(json.dumps(spec.to_dict(), allow_nan=False)) == {
        "name": "net",
        "summary": "A network",
        "provider": {"object": "module:net", "distribution": "fake-a", "version": "1.0"},
        "paper": {"title": "A tiny network", "authors": "Doe", "year": 2020, "url": "https://example.org"},
        "aliases": ["n"],
        "deprecated_aliases": [],
        "deprecated": None,
        "api_version": 1,
        "family": "tiny",
        "input_shape": [8, 9, 3],
        "trainable_params": 100,
        "non_trainable_params": 7,
        "total_params": 107,
        "macs": 9,
        "min_size": 1,
        "features": {"stride2": {"layer": "conv", "shape": [4, 5, 6]}},
        "aux_heads": {"aux": 0.3},
        "weights": {},
        "options": {"rate": 0.5, "variant": None},
        "default_recipe": "default",
        "recipe_settings": {"article": {"optimizer.learning_rate": 1e-5}},
    }


@pytest.mark.parametrize(
    "default", [(1, (2, 3)), ["a"], {"b": (1,)}, np.float32(0.5), Path("a"), print, object, {1, 2}, b"x", 1j]
)
def test_any_default_of_an_option_becomes_json(default: Any) -> None:
    options = json.loads(json.dumps(model(options={"option": default}).to_dict()))["options"]
    assert set(options) == {"option"}


def test_a_dataset_as_json() -> None:
    spec = DatasetSpec(**COMMON | {"num_classes": 2, "num_images": 10, "image_size": 32, "embedded": True})
    data = json.loads(json.dumps(spec.to_dict()))
    assert {key: data[key] for key in ("num_classes", "num_images", "image_size", "embedded", "is_default")} == {
        "num_classes": 2,
        "num_images": 10,
        "image_size": 32,
        "embedded": True,
        "is_default": False,
    }
    assert "build" not in data


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        (Provider("m:f", "fake-a", "1.0"), "fake-a 1.0"),
        (Provider("m:f", "fake-a"), "fake-a"),
        (Provider("m:f"), "this session"),
    ],
)
def test_a_provider_as_text(provider: Provider, text: str) -> None:
    assert str(provider) == text


@pytest.mark.parametrize(
    ("kind", "field", "value", "wanted"),
    [
        (Spec, "aliases", "net2", "tuple"),
        (Spec, "paper", "Doe 2020", r"Paper \| None"),
        (Spec, "deprecated", True, r"str \| None"),
        (ModelSpec, "trainable_params", "5 M", "int"),
        (ModelSpec, "recipe_settings", ["article"], "Mapping"),
        (DatasetSpec, "image_size", 32.0, r"int \| tuple \| None"),
    ],
)
def test_a_field_of_a_wrong_type_is_refused(kind: type[Spec], field: str, value: Any, wanted: str) -> None:
    fields: dict[type[Spec], dict[str, Any]] = {
        Spec: {},
        ModelSpec: {"family": "tiny", "input_shape": (8, 9, 3), "trainable_params": 100},
        DatasetSpec: {"num_classes": 2, "num_images": 10},
    }
    message = rf"{field} of 'net' must be of type {wanted}; got {re.escape(repr(value))}\."
    with pytest.raises(DeclarationError, match=message):
        kind(**COMMON | fields[kind] | {field: value})


def test_specs_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        model().name = "other"  # type: ignore[misc]


def test_what_a_spec_was_made_from_may_change_afterwards() -> None:
    settings = {"default": {"epochs": 3}}
    spec = model(recipe_settings=settings)
    settings["default"]["epochs"] = 4
    settings["article"] = {}
    assert spec.recipe_settings == {"default": {"epochs": 3}}


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({"features": {"a": Feature("c", (1, 1, 1))}}, lambda spec: spec.features.update(b=1)),
        ({"aux_heads": {"a": 0.3}}, lambda spec: spec.aux_heads.clear()),
        ({"options": {"a": 1}}, lambda spec: spec.options.__setitem__("a", 2)),
        ({"options": {"depths": [2, 2]}}, lambda spec: spec.options["depths"].append(2)),
        ({"recipe_settings": {"default": {"a": 1}}}, lambda spec: spec.recipe_settings["default"].pop("a")),
        ({"recipe_settings": {"default": {"sizes": [1]}}}, lambda s: s.recipe_settings["default"]["sizes"].append(2)),
        ({"weights": {"w": Pretrained("m:f", dict, "unit", {"a": 1})}}, lambda s: s.weights["w"].options.clear()),
    ],
)
def test_what_is_in_a_spec_does_not_change(fields: dict[str, Any], change: Any) -> None:
    spec, same = model(**fields), model(**fields)
    with pytest.raises((TypeError, AttributeError)):
        change(spec)
    assert spec == same


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda spec: pickle.loads(pickle.dumps(spec)), replace])
def test_a_spec_can_be_copied_and_sent_to_another_process(copied: Any) -> None:
    spec = model(features={"a": Feature("c", (1, 1, 1))}, recipe_settings={"default": {"a": 1}}, options={"b": [1]})
    assert copied(spec) == spec
    assert copied(spec).to_dict() == spec.to_dict()


def test_one_interface_is_meant_where_none_is_named() -> None:
    default = inspect.signature(register_model).parameters["api_version"].default
    assert model().api_version == default == inspect.signature(register_dataset).parameters["api_version"].default
