"""One line for what is wrong with a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from cnn_registry.text import quoted, suggestion

ALIASES = {
    "b": "batch_size",
    "batch": "batch_size",
    "batchsize": "batch_size",
    "bf16": "precision",
    "bs": "batch_size",
    "clip": "optimizer.clipnorm",
    "clip_grad": "optimizer.clipnorm",
    "clip_norm": "optimizer.clipnorm",
    "crop_size": "image_size",
    "dropout": "model.dropout",
    "dtype": "precision",
    "early_stop": "early_stopping.patience",
    "epoch": "epochs",
    "grad_clip": "optimizer.clipnorm",
    "hflip": "augmentation.flip",
    "in_chans": "channels",
    "crop_pct": "crop_share",
    "randaugment": "augmentation.rand_augment",
    "random_erasing": "augmentation.erasing",
    "reprob": "augmentation.erasing",
    "trivialaugment": "augmentation.trivial_augment",
    "vflip": "augmentation.vertical_flip",
    "image": "image_size",
    "img_size": "image_size",
    "imgsz": "image_size",
    "input_size": "image_size",
    "l2": "optimizer.weight_decay",
    "lr": "optimizer.learning_rate",
    "loss_function": "loss.name",
    "lr_scheduler": "schedule.name",
    "max_epochs": "epochs",
    "max_norm": "optimizer.clipnorm",
    "mixed_precision": "precision",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "opt": "optimizer.name",
    "optim": "optimizer.name",
    "random_seed": "seed",
    "random_state": "seed",
    "patience": "early_stopping.patience",
    "rate": "optimizer.learning_rate",
    "resolution": "image_size",
    "scheduler": "schedule.name",
    "size": "image_size",
    "smoothing": "label_smoothing",
    "warmup": "schedule.warmup_epochs",
    "wd": "optimizer.weight_decay",
}
"""Settings by the names that other tools have for them."""


def complaint(error: Mapping[str, Any], source: str, schema: type[BaseModel]) -> str:
    """One line for an error of pydantic's, about a recipe that should have the form of ``schema``."""
    if error["type"] == "json_invalid":  # nested too deeply for the reader, or text that is not Unicode
        return f"Recipe {source}: a value cannot be stored: {error['msg']}."
    if not error["loc"]:  # of several settings together
        return f"Recipe {source}: {error['msg'].removeprefix('Value error, ')}."
    *tables, last = [str(part) for part in error["loc"]]
    key = ".".join([*tables, last])
    if error["type"] == "extra_forbidden":
        known = _keys_of(tables, schema)
        called = setting_called(last, schema)
        hint = f" Did you mean {quoted(called)}?" if called and called != key else suggestion(last, known)
        hint = hint or suggestion(last, _all_keys(schema))
        return f"Recipe {source}: there is no setting {quoted(key)}.{hint} Known here: {', '.join(known)}."
    if error["type"] == "model_type":
        settings = ", ".join(f"{key}.{setting}" for setting in _keys_of([*tables, last], schema))
        return f"Recipe {source}: {key} is a table of settings, {settings}; got {quoted(error.get('input'))}."
    if error["type"] == "missing":
        return f"Recipe {source}: the setting {quoted(key)} is missing."
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"Recipe {source}: {key}: {message}; got {quoted(error.get('input'))}."


def setting_called(name: str, schema: type[BaseModel]) -> str | None:
    """The dotted key of the setting that is called ``name`` here, inside a table, or in other tools."""
    name = name.lower().replace("-", "_")
    keys = _all_keys(schema)
    inside = [key for key in keys if key.rpartition(".")[2] == name]
    return ALIASES.get(name) or (inside[0] if len(inside) == 1 else None)


def _keys_of(tables: Iterable[str], schema: type[BaseModel]) -> list[str]:
    """The settings that exist under a dotted path."""
    for table in tables:
        inner = table_of(schema.model_fields[table].annotation)
        assert inner is not None, f"pydantic found an unknown key in {table}, which is not a table"
        schema = inner
    return list(schema.model_fields)


def _all_keys(schema: type[BaseModel]) -> list[str]:
    """All settings, those of tables as dotted keys."""
    tables = {name: table_of(field.annotation) for name, field in schema.model_fields.items()}
    nested = [f"{name}.{key}" for name, table in tables.items() if table for key in table.model_fields]
    return [*schema.model_fields, *nested]


def table_of(annotation: Any) -> type[BaseModel] | None:
    """The settings that a field holds as a table, or ``None`` for a single value."""
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
