"""``cnnreg check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnn_registry.errors import AmbiguousNameError, UsageError
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
    from cnn_registry.testing.outcome import CheckResult
    from cnn_registry.testing.run import BoundCheck

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
@click.option("--full", is_flag=True, help="Also run expensive checks on large models.")
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
    wide: bool,
    as_json: bool,
) -> None:
    """Check that models match what their plugins declare.

    The exit code is 1 if a check failed. Models with more than 30 million parameters skip the expensive checks.
    """
    from cnn_registry.registry.datasets import get_dataset_spec
    from cnn_registry.testing.run import dataset_checks, model_checks

    if not (names or every or plugin or dataset_names):
        raise click.UsageError("Name a model, or give --all, --plugin or --dataset.", click.get_current_context())
    if data is not None and len(dataset_names) != 1:
        raise click.UsageError("--data goes with one --dataset.", click.get_current_context())
    specs = _chosen(names, every, plugin)
    datasets = [get_dataset_spec(name) for name in dataset_names]
    checks = [list(model_checks(spec, only=only, full=full)) for spec in specs if isinstance(spec, ModelSpec)]
    checks += [list(dataset_checks(spec, data, only=only)) for spec in datasets]
    results = [*_unusable(specs)]
    if results and not as_json:
        _print(results, {}, wide)
    for of_one in checks:
        made = _made(of_one)
        results += made
        if not as_json:  # at once: a table of all models would be lost with whatever ends the process
            _print(made, {check.check.name: check.check.about for check in of_one}, wide)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(result) for result in results])
    else:
        counts = Counter(result.outcome for result in results)
        tell(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped")))
    if any(result.outcome == "failed" for result in results):
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
    """One row per check, with what it is ``about``; then each failure in full, so that it can be copied."""
    rows = [
        [
            result.model,
            result.check,
            result.outcome,
            f"{result.seconds:.1f}",
            result.message if result.outcome == "skipped" else about.get(result.check, ""),
        ]
        for result in results
    ]
    print_table(COLUMNS, rows, wide=wide, footnote=False)
    for result in results:
        if result.outcome == "failed":
            tell(result.line, wrap=False)
