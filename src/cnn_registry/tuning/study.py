"""The study that trials belong to, its sampler and its pruner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from cnn_registry.errors import UsageError
from cnn_registry.recipes.resolution import leaves
from cnn_registry.system.objects import Reference, called, takes
from cnn_registry.text import suggestion

from .storage import silent_optuna

if TYPE_CHECKING:
    import optuna
    from optuna.storages import RDBStorage

SUBJECT = "cnnreg"
"""The study's attribute that says what is tuned."""

OWNER, OUT, ERROR, RETRY_OF, TRIES = "owner", "out", "error", "retry_of", "tries"
"""Attributes of a trial: the process that runs it, the folder of its run, why it failed, which trial it takes the place
of, and how often it was lost."""


def open_study(
    storage: RDBStorage,
    name: str,
    direction: Literal["minimize", "maximize"],
    subject: Mapping[str, Any],
    *,
    exists: bool,
    **parts: Any,
) -> tuple[optuna.Study, bool]:
    """The study of that name, new or continued, and whether it is new.

    Args:
        storage: where it is.
        name: the study's.
        direction: ``"minimize"`` or ``"maximize"``.
        subject: what is tuned, JSON-ready; a study that exists must be of the same.
        exists: refuse to make a new one.
        **parts: sampler and pruner.

    Raises:
        UsageError: the study is of something else, or does not exist but should.
    """
    import optuna

    known = optuna.get_all_study_names(storage)
    if exists and name not in known:
        raise UsageError(
            f"There is no study {name!r} to resume.{suggestion(name, known)} Leave --resume out to begin it."
        )
    with silent_optuna():
        try:
            study, is_new = optuna.create_study(storage=storage, study_name=name, direction=direction, **parts), True
        except optuna.exceptions.DuplicatedStudyError:
            study, is_new = optuna.load_study(storage=storage, study_name=name, **parts), False
    found = study.user_attrs.get(SUBJECT)
    if found is None and study.get_trials(deepcopy=False):
        raise UsageError(f"The study {name!r} was not made by cnnreg tune; give this one another name with --study.")
    if found is None:
        study.set_user_attr(SUBJECT, dict(subject))
        return study, is_new
    before, now = (dict(leaves(given)) for given in (found, subject))
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise UsageError(
            f"The study {name!r} has {key} = {before.get(key)}, not {now.get(key)}. Continue it with what it began "
            f"with, or give this one another name with --study."
        )
    return study, False


def named_part(kind: Any, suffix: str, text: str, **given: Any) -> Any:
    """A sampler or a pruner of Optuna by the name of its class, in any case, with or without its ending.

    Args:
        kind: Optuna's module of them.
        suffix: the ending of their names.
        text: ``"tpe"``, ``"TPESampler,multivariate=true"``.
        **given: arguments that are passed where the class takes them and ``text`` does not have them.

    Raises:
        UsageError: there is no such class, or it does not take the arguments.
    """
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise UsageError(f"{text!r}: {error}.") from error
    classes = {name.removesuffix(suffix).lower(): getattr(kind, name) for name in kind.__all__ if name.endswith(suffix)}
    classes.pop("base", None)
    wanted = reference.name.lower().replace("_", "").removesuffix(suffix.lower())
    if suffix == "Pruner" and wanted == "none":
        wanted = "nop"
    if wanted not in classes:
        raise UsageError(
            f"Optuna has no {suffix.lower()} {reference.name!r}.{suggestion(wanted, classes)} It has "
            f"{', '.join(sorted(classes))}."
        )
    maker = classes[wanted]
    options = {name: value for name, value in given.items() if takes(maker, name)} | reference.options
    with silent_optuna():
        return called(maker, f"The {suffix.lower()}", **options)
