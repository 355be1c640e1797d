"""Go on with a training that was stopped, so that it ends as if it had not been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_registry.data.dataset import Split
from cnn_registry.data.loading import load_dataset
from cnn_registry.data.split import positions
from cnn_registry.errors import CnnRegistryError, RunError
from cnn_registry.recipes.schema import Recipe
from cnn_registry.registry.models import get_spec, refuse_unknown_options
from cnn_registry.runs.machine import versions
from cnn_registry.runs.record import ENDED, Resumption, RunRecord, SplitRecord
from cnn_registry.runs.run import Run
from cnn_registry.system.progress import note
from cnn_registry.training.fit import Images, Manner, OnNaN, build_trainable

from .train import Plan, carry_out, check_manner, chosen_recipe, decoded, settled

if TYPE_CHECKING:
    import keras


def resume(
    path: str | Path,
    *,
    settings: Mapping[str, Any] | None = None,
    force: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    tensorboard: bool = False,
    checkpoint_minutes: float = 10.0,
    keep_going: bool = False,
    on_nan: OnNaN = "stop",
) -> Run:
    """Go on with a training from its latest checkpoint.

    With the recipe's ``deterministic`` on, weights, optimizer, history, best weights and the decision of early stopping
    end up equal, bit for bit, to those of a training that was not stopped, on the same machine. The state of callbacks
    of your own is yours to keep.

    Args:
        path: the run directory.
        settings: dotted settings to change; needs ``force``.
        force: go on although something is no longer as it was.
        callbacks, tensorboard, checkpoint_minutes, keep_going, on_nan: as for `train`.

    Raises:
        RunError: there is no such run, it has ended, another process is training it, or something is no longer as it
            was (recipe, images, versions of the model's package or of a library) and ``force`` is false.
        CnnRegistryError: as `train`.
    """
    manner = Manner(callbacks, tensorboard, checkpoint_minutes, keep_going, on_nan)
    check_manner(manner)
    with Run.open(Path(path)).locked():
        run = Run.open(Path(path))  # as it is now that no other process can change it
        return _gone_on(run, settings or {}, force, manner)


def _gone_on(run: Run, settings: Mapping[str, Any], force: bool, manner: Manner) -> Run:
    """The run, trained to its end."""
    record = run.record
    if record.status in ENDED:
        raise RunError(f"{run.path} has {record.status}; there is nothing left to go on with.")
    recipe, spec = record.recipe.with_settings(settings), get_spec(record.model.name)
    refuse_unknown_options(spec, record.model.options)
    given = None if record.data.given is None else Path(record.data.given)
    loaded = load_dataset(record.data.dataset, given)
    images = decoded(loaded, record.model.input_shape[0], recipe.decode_size, "skip")
    changed = [*_changes(record, recipe, spec.provider.version), *_changed_images(record, images)]
    if recipe.batch_size != record.recipe.batch_size:
        raise RunError("batch_size cannot be changed in the middle of a training: steps would no longer be the same.")
    if changed and not force:
        raise RunError(
            f"{run.path} cannot go on as it was: {'; '.join(changed)}. --force goes on all the same, with another end."
        )
    run.checkpoints.sweep()
    resume_from = run.checkpoints.latest()
    step = resume_from.step if resume_from else 0
    resumption = Resumption(at=datetime.now(UTC).isoformat(timespec="seconds"), step=step, changed=changed)
    run = run.updated(
        status="running",
        model=record.model.model_copy(update={"spec": spec.to_dict()}),
        recipe=recipe,
        versions=versions(),
        resumed=[*record.resumed, resumption],
        result={},
    )
    lowered, split = run.record.lowered(), _split(images, record.split)
    network = build_trainable(
        record.model,
        lowered,
        len(split.train),
        class_names=record.data.class_names,
        pretrained=resume_from is None,
    )
    if not resume_from:
        note(f"{run.path} has no checkpoint; its training begins again.")
    note(f"{spec.name} on {record.data.name} goes on in {run.path} after {step} steps")
    return carry_out(network, Plan(spec, recipe, images, split, run.record), run, manner, resume_from)


def unfinished(
    model: str,
    *,
    dataset: str | None = None,
    data: str | Path | None = None,
    recipe: str | Path | Recipe | None = None,
    settings: Mapping[str, Any] | None = None,
    split: str | None = None,
    out: str | Path = "runs",
) -> Path | None:
    """The newest run in ``out`` that has not ended and was begun with these arguments, which are those of `train`."""
    spec = get_spec(model)
    wanted = chosen_recipe(spec, recipe, settings or {})
    chosen = settled(wanted, spec, load_dataset(dataset, None if data is None else Path(data)))
    given = None if data is None else str(Path(data).absolute())

    def is_same(record: RunRecord) -> bool:
        asked = dataset is None or dataset == record.data.dataset
        return (
            get_spec(record.model.name) == spec
            and record.recipe == chosen
            and record.data.given == given
            and asked
            and split in (None, record.split.name)
        )

    found = [run for run in _runs(Path(out)) if run.record.status not in ENDED and is_same(run.record)]
    return max(found, key=lambda run: run.record.created).path if found else None


def _runs(out: Path) -> Iterator[Run]:
    """The runs in a directory that can be read, and whose models are installed."""
    for path in sorted(out.glob("*/run.json")):
        try:
            run = Run.open(path.parent)
            get_spec(run.record.model.name)
        except CnnRegistryError:
            continue
        yield run


def _changes(record: RunRecord, recipe: Recipe, plugin_version: str | None) -> Iterator[str]:
    """What differs from when the run began, each in a few words."""
    provider = record.model.spec["provider"]
    before = _flat(record.recipe.to_dict()) | record.versions | {str(provider["distribution"]): provider["version"]}
    now = _flat(recipe.to_dict()) | versions() | {str(provider["distribution"]): plugin_version}
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            yield f"{name} was {before.get(name)}, is {now.get(name)}"


def _changed_images(record: RunRecord, images: Images) -> Iterator[str]:
    if images.evaluation.digest != record.data.digest:
        yield f"the images at {record.data.source} or their classes are others"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _split(images: Images, recorded: SplitRecord) -> Split:
    dataset = images.evaluation.dataset
    return Split(*(positions(dataset, ids) for ids in (recorded.train, recorded.val, recorded.test)))
