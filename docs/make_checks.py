"""Print ``docs/checks.md`` from ``benchmarks/results/checks.json``, the output of ``cnnreg check``."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "checks.json"

HEAD = """\
# Checks of the models in this repository

<!-- Written by docs/make_checks.py; do not edit. -->

    cnnreg check --all --full --json > benchmarks/results/checks.json
    make docs

runs every check of [the conformance kit](plugin-authors.md#the-checks) on every model of the packages in `plugins/`,
whatever its size, on two cores of an AMD EPYC (AVX2). The page leaves out `cnnreg-keras-applications`, whose networks
are Keras' own. Models that were changed later were checked again on their own, and their rows replaced. The machine was
shared, so the times are approximate.
"""


def main() -> None:
    """Print the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    print("\n".join([HEAD, *table(results), "", *skipped(results)]))


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """One row for each model, and one for all."""
    of_model = defaultdict(list)
    for result in results:
        of_model[result["model"]].append(result)
    yield "| model | passed | failed | does not apply | seconds |"
    yield "|---|---|---|---|---|"
    for model, own in of_model.items():
        yield row(f"`{model}`", own)
    yield row(f"{len(of_model)} models", results)


def row(what: str, results: list[dict[str, Any]]) -> str:
    """The number of checks with each outcome."""
    counts = Counter(result["outcome"] for result in results)
    ended = " | ".join(str(counts[outcome]) for outcome in ("passed", "failed", "skipped"))
    return f"| {what} | {ended} | {sum(result['seconds'] for result in results):.0f} |"


def skipped(results: list[dict[str, Any]]) -> Iterator[str]:
    """The reasons why checks do not apply, and the number of models."""
    reasons = Counter((result["check"], result["message"]) for result in results if result["outcome"] == "skipped")
    yield "| check that does not apply | because | models |"
    yield "|---|---|---|"
    for (check, reason), count in sorted(reasons.items()):
        yield f"| {check} | {reason} | {count} |"


if __name__ == "__main__":
    main()
