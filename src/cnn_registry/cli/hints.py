"""What an option that does not exist stands for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import click

OPTIONS = {
    "cross_validation": "--folds",
    "cv": "--folds",
    "d": "--data",
    "data_dir": "--data",
    "data_path": "--data",
    "e": "--epochs",
    "ep": "--epochs",
    "finetune": "--weights",
    "k": "--folds",
    "kfold": "--folds",
    "load": "--weights",
    "max_epochs": "--epochs",
    "n_epochs": "--epochs",
    "num_epochs": "--epochs",
    "o": "--out",
    "output": "--out",
    "output_dir": "--out",
    "pretrained": "--weights",
    "project": "--out",
    "save_dir": "--out",
    "train_dir": "--data",
    "tta_flip": "--tta",
}
"""Options of ours by the names that other tools have for them."""


def option_hint(error: click.NoSuchOption, arguments: Sequence[str]) -> str:
    """What to write instead of an option that does not exist: ``" Did you mean --data?"``, or an empty string.

    Args:
        error: names the option, and the command that does not have it.
        arguments: the command line, which may have a value for it.
    """
    if error.ctx is None:
        return ""
    command = error.ctx.command
    known = {name.lstrip("-"): name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    bare = error.option_name.lstrip("-").lower()
    name = bare.replace("-", "_")
    if OPTIONS.get(name) in known.values():
        return f" Did you mean {OPTIONS[name]}?"
    if "set" in known and (setting := _setting(name)):
        value = _value_of(error.option_name, arguments)
        return f" It is a setting of the recipe: --set {shlex.quote(f'{setting}={value}')}"
    import difflib

    nearest = difflib.get_close_matches(bare, known, n=1, cutoff=0.7)
    return f" Did you mean {known[nearest[0]]}?" if nearest else ""


def _setting(name: str) -> str | None:
    from cnn_registry.recipes.messages import setting_called
    from cnn_registry.recipes.schema import Recipe

    return setting_called(name, Recipe)


def _value_of(option: str, arguments: Sequence[str]) -> str:
    """What the command line gives an option, if anything."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith(f"{option}="):
            return argument.partition("=")[2]
        if argument == option and following and not following.startswith("-"):
            return following
    return "VALUE"
