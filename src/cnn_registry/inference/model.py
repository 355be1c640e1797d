"""The trained model of a run."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cnn_registry.errors import RunError, UnknownNameError, UnknownProviderError, WeightsError
from cnn_registry.networks.build import build_model
from cnn_registry.networks.fingerprint import fingerprint
from cnn_registry.networks.weights.keras_file import load_exactly
from cnn_registry.registry.models import get_spec, refuse_unknown_options
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.runs.record import ENDED
from cnn_registry.runs.run import Run, load_run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import is_own_file
from cnn_registry.system.progress import note, working
from cnn_registry.text import counted, shell_path

if TYPE_CHECKING:
    import keras

Weights = Literal["best", "last"]
"""Those of the best epoch, by validation loss unless the recipe says otherwise, or of the last one."""


@checked_arguments
def load_model(run: Run | str | Path, weights: Weights = "best", *, force: bool = False) -> keras.Model:
    """Build the run's model and load its weights.

    Args:
        run: the run, its directory, or its repository ``hf://user/name[@revision]``.
        weights: ``"best"`` or ``"last"``.
        force: load them although the installed package builds another network than the one that was trained.

    Returns:
        The network, uncompiled, from float32 ``(batch, height, width, channels)``, scaled as the recipe's ``pixels``
        says, to probabilities ``(batch, num_classes)``.

    Raises:
        RunError: the run has no such weights, they are a link, or the package that provides the model is not installed.
        BrokenPluginError: the plugin that provides the model cannot be used.
        UnknownOptionError: the installed model has no such option. Nothing else that `create_model` takes is passed on.
        WeightsError: the weights do not fit, or their file is damaged.
        HubError, MissingPackageError: as `load_run`.
    """
    run = run if isinstance(run, Run) else load_run(run)
    return load_network(run, spec_of(run), weights, force=force)


def load_network(run: Run, spec: ModelSpec, weights: Weights = "best", *, force: bool = False) -> keras.Model:
    """As `load_model`, with the spec of the run's model, which `spec_of` gives."""
    path = run.best_weights if weights == "best" else run.last_weights
    if os.path.lexists(path) and not is_own_file(path):
        raise RunError(f"{run.location} has no {path.name} of its own: expected a file, not a link. Restore it.")
    if not run.path.is_dir():
        hint = (
            "any more. Load the run from where it is now"
            if run.path.is_absolute()
            else f"in {Path.cwd()}. Change back to where the run was opened, or load it by its whole path"
        )
        raise RunError(f"There is no folder {run.location} {hint}.")
    if not path.is_file():
        helps = (
            "A repository of a hub has only the best weights."
            if run.is_fetched
            else "Train it again."
            if run.record.status in ENDED
            else f"Resume it with: cnnreg train --resume {shell_path(run.path)}"
        )
        raise RunError(f"{run.location} has no {path.name}: the run is {run.status!r}. {helps}")
    model = run.record.model
    refuse_unknown_options(spec, model.options)
    options = model.options | ({"aux_heads": False} if model.spec["aux_heads"] else {})
    with working(f"Building {spec.name}"):
        network = build_model(spec, num_classes=model.num_classes, input_shape=model.input_shape, **options)
    if fault := changed_network(run, spec, fingerprint(network)):
        if not force:
            raise RunError(f"{fault}, or use --force to load the weights into it anyway.")
        note(f"{fault}. Its weights are loaded into it anyway.")
    load_exactly(network, path, run.record.data.class_names)
    return network


def changed_network(run: Run, spec: ModelSpec, found: str) -> str:
    """What to say where the network with the fingerprint ``found`` is not the run's, or an empty string.

    Where the run has none to compare, of an earlier version, and the package's version differs, that is a note.
    """
    model, provider = run.record.model, run.record.model.spec["provider"]
    distribution, version = provider["distribution"], provider["version"]
    other = spec.provider.version != version
    recorded = model.fingerprint or ""
    if recorded.partition(":")[0] != found.partition(":")[0]:
        if other:
            note(f"{run.location} was trained with {distribution} {version}, not {spec.provider.version}.")
        return ""
    if recorded == found:
        return ""
    helps = f". Install the former with: pip install {requirement(distribution, version)}" if other else ""
    return (
        f"{run.location} was trained with {distribution or 'this session'} {version or ''}; {spec.provider} builds "
        f"another network by the name {spec.name!r}{helps if distribution else ''}"
    )


def spec_of(run: Run) -> ModelSpec:
    """The spec of the run's model.

    Raises:
        RunError: the package that provides it is not installed; the message says how to install it.
        BrokenPluginError: it cannot be used.
    """
    model = run.record.model
    try:
        return get_spec(model.name)
    except (UnknownNameError, UnknownProviderError) as error:
        provider = model.spec["provider"]
        name, distribution, version = model.spec["name"], provider["distribution"], provider["version"]
        if distribution is None:
            raise RunError(
                f"The model {name!r} of {run.location} was registered in the session that trained it; register it "
                f"again before the run is used."
            ) from error
        raise RunError(
            f"The model {name!r} of {run.location} comes from {distribution} {version or ''}, "
            f"{_absence(distribution, version)}"
        ) from error


def _absence(distribution: str, version: str | None) -> str:
    """Why a distribution does not provide what it did, and what to do."""
    helps = f"Install it with: pip install {requirement(distribution, version)}"
    try:
        installed = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return f"which is not installed. {helps}"
    if installed == version:
        return (
            "which may not provide plugins here. Allow it: leave --no-plugins out, and see CNNREG_PLUGINS and "
            "CNNREG_DISABLE_PLUGINS."
        )
    return f"and the installed {installed} does not provide it. {helps}"


def refuse_not_finite(outputs: np.ndarray) -> None:
    """Refuse outputs ``(N, outputs)`` that are NaN or infinite: the first class would be named for each such image.

    Raises:
        WeightsError: there are some.
    """
    if bad := np.count_nonzero(~np.isfinite(outputs).all(axis=1)):
        raise WeightsError(
            f"The network gives NaN or infinity for {bad:,} of {counted(len(outputs), 'image')}: its weights are "
            f"damaged, or values overflow."
        )


def requirement(distribution: str, version: str | None) -> str:
    """The argument of ``pip install`` for the version that a run was made with."""
    return f"'{distribution}=={version}'" if version else distribution
