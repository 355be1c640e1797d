"""``cnnreg check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnn_registry.errors import AmbiguousNameError, CnnRegistryError, UsageError
from cnn_registry.registry.catalogue import Ambiguous
from cnn_registry.registry.entries import Broken
from cnn_registry.registry.models import describe_models, find_model
from cnn_registry.registry.policy import normalised
from cnn_registry.registry.spec import ModelSpec
from cnn_registry.system.progress import progress

from .common import common_options, complete_datasets, complete_models, json_option, wide_option
from .output import print_json, tell
from .table import Column, print_table

if TYPE_CHECKING:
    from cnn_registry.testing.checks import BoundCheck
    from cnn_registry.testing.outcome import CheckResult

COLUMNS = (
    Column("model", at_least=12),
    Column("check"),
    Column("outcome"),
    Column("seconds", number=True, rank=2),
    Column("what", at_least=12, rank=1),
)


@click.command("check")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_models)
@click.option("--all", "every", is_flag=True, help="Check all installed models.")
@click.option("--plugin", metavar="DIST", help="Check all models of a distribution.")
@click.option(
    "--dataset", "dataset_names", multiple=True, shell_complete=complete_datasets, help="Check a dataset (repeatable)."
)
@click.option("--data", type=click.Path(path_type=Path), help="With --dataset: the archive or folder that holds it.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run only this check (repeatable).")
@click.option("--full", is_flag=True, help="Also run expensive checks on large models, and open published weights.")
@click.option("--write", is_flag=True, help="Write the counts that are found into the declarations.")
@wide_option
@json_option
@common_options
def command(
    names: tuple[str, ...],
    every: bool,
    plugin: str | None,
    dataset_names: tuple[str, ...],
    data: Path | None,
    only: tuple[str, ...],
    full: bool,
    write: bool,
    wide: bool,
    as_json: bool,
) -> None:
    """Check that models match what their plugins declare.

    The exit code is 1 if a check failed. Models with more than 30 million parameters skip the expensive checks.
    --write corrects numbers of parameters, MACs and min_size in the plugin's source, and shows the change.
    """
    from cnn_registry.registry.datasets import get_dataset_spec
    from cnn_registry.testing.checks import dataset_checks, model_checks

    if not (names or every or plugin or dataset_names):
        raise click.UsageError("Name a model, or give --all, --plugin or --dataset.", click.get_current_context())
    if write and as_json:
        raise click.UsageError("--write shows what it changes; leave --json out.", click.get_current_context())
    if data is not None and len(dataset_names) != 1:
        raise click.UsageError("--data goes with one --dataset.", click.get_current_context())
    specs = _chosen(names, every, plugin)
    datasets = [get_dataset_spec(name) for name in dataset_names]
    checks = [list(model_checks(spec, only=only, full=full)) for spec in specs if isinstance(spec, ModelSpec)]
    checks += [list(dataset_checks(spec, data, only=only)) for spec in datasets]
    results = [*_unusable(specs)]
    if results and not as_json:
        _print(results, {}, wide)
    made_of: list[list[CheckResult]] = []
    for of_one in checks:
        made = _made(of_one)
        made_of.append(made)
        results += made
        if not as_json:  # at once: a table of all models would be lost with whatever ends the process
            _print(made, {check.check.name: check.check.about for check in of_one}, wide)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(result) for result in results])
    else:
        _print_counts(results)
    failures = [result for result in results if result.outcome == "failed"]
    if write:
        models = [spec for spec in specs if isinstance(spec, ModelSpec)]
        written = _write(zip(models, made_of, strict=False))
        failures = [result for result in failures if result not in written]
    if failures:
        click.get_current_context().exit(1)


def _chosen(names: tuple[str, ...], every: bool, plugin: str | None) -> list[ModelSpec | Broken | Ambiguous]:
    """The models that were asked for, each once.

    Raises:
        UsageError: a name is unknown or ambiguous, or the plugin provides no model.
    """
    found = [find_model(name) for name in names]
    for item in found:
        if isinstance(item, Ambiguous):
            raise AmbiguousNameError("model", item.name, item.providers)
    if every:
        found += describe_models()
    if plugin:
        listed = describe_models()
        own = [item for item in listed if _distribution(item) == normalised(plugin)]
        if not own:
            known = sorted({_distribution(item) for item in listed} - {""})
            raise UsageError(f"No model is provided by {plugin!r}. There are models of: {', '.join(known) or 'none'}.")
        found += own
    return [item for position, item in enumerate(found) if item not in found[:position]]


def _distribution(item: ModelSpec | Broken | Ambiguous) -> str:
    if isinstance(item, ModelSpec):
        return normalised(item.provider.distribution or "")
    return normalised(item.entry.distribution) if isinstance(item, Broken) else ""


def _unusable(items: list[ModelSpec | Broken | Ambiguous]) -> Iterator[CheckResult]:
    """A failure for each model that cannot be checked."""
    from cnn_registry.testing.outcome import CheckResult

    for item in items:
        if isinstance(item, Broken):
            yield CheckResult(item.entry.name, "usable", "failed", f"its plugin is broken: {item.reason}", 0.0)
        elif isinstance(item, Ambiguous):
            choices = " or ".join(f"{provider}:{item.name}" for provider in item.providers)
            yield CheckResult(item.name, "usable", "failed", f"several plugins provide it; check {choices}", 0.0)


def _made(checks: list[BoundCheck]) -> list[CheckResult]:
    """The results of the checks of one model or dataset."""
    results = []
    with progress(f"Checking {checks[0].model}", len(checks)) as advance:
        for check in checks:
            results.append(check.result())
            advance(1)
    return results


def _print(results: list[CheckResult], about: Mapping[str, str], wide: bool) -> None:
    """One row per check, with what it is ``about``; then each failure in full, so that it can be copied.

    Checks in a row that are skipped for the same reason have one row together.
    """
    rows = []
    for (model, outcome, message), group in groupby(results, lambda result: (result.model, *_shown(result))):
        made = list(group)
        for row in [made] if outcome == "skipped" else [[result] for result in made]:
            names = row[0].check if len(row) == 1 else f"{row[0].check} to {row[-1].check} ({len(row)})"
            seconds = sum(result.seconds for result in row)
            rows.append([model, names, outcome, f"{seconds:.1f}", message or about.get(row[0].check, "")])
    print_table(COLUMNS, rows, wide=wide, footnote=False)
    for result in results:
        if result.outcome == "failed":
            tell(result.line, wrap=False)


def _shown(result: CheckResult) -> tuple[str, str]:
    """The outcome, and the message where the table shows it."""
    return result.outcome, result.message if result.outcome in ("skipped", "expected") else ""


def _print_counts(results: list[CheckResult]) -> None:
    counts = Counter(result.outcome for result in results)
    said = [f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")]
    tell(", ".join([*said, *([f"{counts['expected']} failed as expected"] if counts["expected"] else [])]))


def _write(made: Iterable[tuple[ModelSpec, list[CheckResult]]]) -> list[CheckResult]:
    """Write what the checks of each model found into its declaration, and show it.

    Returns:
        The results whose numbers are right now.
    """
    from cnn_registry.testing.rewrite import rewrite

    written: list[CheckResult] = []
    is_right = True
    for spec, results in made:
        found = [result for result in results if result.declare]
        if not found:
            continue
        is_right = False
        values = {name: value for result in found for name, value in result.declare.items()}
        try:
            change = rewrite(spec, values)
            change.write()
        except CnnRegistryError as error:
            tell(str(error), wrap=False)
            continue
        for line in change.diff:
            tell(line, wrap=False)
        written += found
    if is_right:
        tell("The declared numbers are right; nothing was written.")
    return written
