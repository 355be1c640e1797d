"""Print ``docs/reliability.md`` from the results of ``make chaos`` in ``benchmarks/results``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

HEAD = """\
# Reliability

<!-- Written by docs/make_reliability.py; do not edit. -->

[The guide](guide.md#when-it-was-stopped) says what to expect when training is stopped. This page shows how that was
tested. `make chaos` produces the figures; `make test` runs a shorter form of each test.
"""


def main() -> None:
    """Print the page."""
    chaos, cost = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("chaos", "checkpoint_cost"))
    print("\n".join([HEAD, *killed(chaos), *damaged(chaos), *calls(), *costs(cost), *where(chaos)]))


def killed(chaos: dict[str, Any]) -> Iterator[str]:
    """The training run that was killed."""
    kills = chaos["kills"]
    waits = [kill["after_seconds"] for kill in kills]
    same = "They are identical" if not chaos["differences"] else f"These differ: {', '.join(chaos['differences'])}"
    yield "## Killed and resumed\n"
    yield f"    {chaos['command']}\n"
    yield f"trains with\n\n    {chaos['training']}\n"
    yield (
        f"twice: once undisturbed, and once killed with SIGKILL {len(kills)} times, each time {min(waits):.1f} to "
        f"{max(waits):.1f} seconds\nafter it started or resumed. Both runs {chaos['status']} after {chaos['epochs']} "
        f"epochs. The status, the history (except seconds\nand images/s), the best weights and the last weights were "
        f"compared bit for bit. {same}.\n"
    )


def damaged(chaos: dict[str, Any]) -> Iterator[str]:
    """The flipped bits."""
    flips = chaos["flips"]
    yield "## Damaged\n"
    yield (
        f"{flips['made']:,} random bits in the files of a checkpoint were flipped, one at a time. "
        f"{flips['detected']:,} flips were detected before\nanything was used. `tests/runs/test_hostile_runs.py` "
        "does the same with `run.json`.\n"
    )


def calls() -> Iterator[str]:
    """The calls that are made to fail."""
    yield "## Not written\n"
    yield (
        "`tests/training/test_checkpoints.py` makes every flush, rename and directory creation fail, one at a time,\n"
        "with ENOSPC and with EIO. It also limits the size of files to 0 to 2,000 bytes. After each failure, the\n"
        "latest checkpoint can be read. It is the previous one, or the new one if only a later step failed.\n"
    )


def costs(cost: dict[str, Any]) -> Iterator[str]:
    """The cost of checkpoints."""
    yield "## Cost\n"
    yield f"    {cost['command']}\n"
    yield "| run | checkpoints | seconds for checkpoints | seconds for steps | share |"
    yield "|---|---|---|---|---|"
    for one in cost["trainings"]:
        settings = ", ".join(f"{key} {value}" for key, value in one["settings"].items())
        yield (
            f"| {one['model']}, {settings} | {one['checkpoints']} | {one['checkpoint_seconds']:.2f} | "
            f"{one['training_seconds']:.1f} | {one['share']:.2%} |"
        )
    yield ""


def where(chaos: dict[str, Any]) -> Iterator[str]:
    """The machine and the versions."""
    machine, versions = chaos["machine"], chaos["versions"]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"Measured on {machine['cpus']} CPU cores, {machine['memory'] / 2**30:.0f} GiB; {named}."


if __name__ == "__main__":
    main()
