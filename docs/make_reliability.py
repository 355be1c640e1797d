"""Print ``docs/reliability.md`` from what ``make chaos`` has left in ``benchmarks/results``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"

HEAD = """\
# Reliability

<!-- Made by docs/make_reliability.py; do not edit. -->

What is promised of trainings that are stopped is in [the guide](guide.md#when-it-was-stopped). Here is how it was
tried. `make chaos` makes the figures, `make test` a shorter form of each.
"""


def main() -> None:
    """Print the page."""
    chaos, cost = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("chaos", "checkpoint_cost"))
    print("\n".join([HEAD, *killed(chaos), *damaged(chaos), *calls(), *costs(cost), *where(chaos)]))


def killed(chaos: dict[str, Any]) -> Iterator[str]:
    """The training that was killed."""
    kills = chaos["kills"]
    waits = [kill["after_seconds"] for kill in kills]
    same = "nothing differs" if not chaos["differences"] else f"these differ: {', '.join(chaos['differences'])}"
    yield "## Killed and resumed\n"
    yield f"    {chaos['command']}\n"
    yield f"trains with\n\n    {chaos['training']}\n"
    yield (
        f"once undisturbed, and once killed with SIGKILL {len(kills)} times, {min(waits):.1f} to {max(waits):.1f} "
        f"seconds\nafter it began or went on, and resumed each time. Both {chaos['status']} after {chaos['epochs']} "
        f"epochs. Compared bit for bit,\nbut for seconds and images/s: how training ended, the history, the best "
        f"weights, the last weights. Of these, {same}.\n"
    )


def damaged(chaos: dict[str, Any]) -> Iterator[str]:
    """The bits that were flipped."""
    flips = chaos["flips"]
    yield "## Damaged\n"
    yield (
        f"Of {flips['made']:,} random bits of the files of a checkpoint, turned over one at a time, "
        f"{flips['detected']:,} were detected before anything\nwas used. `run.json` is tried likewise in "
        "`tests/training/test_hostile_runs.py`.\n"
    )


def calls() -> Iterator[str]:
    """The calls that were made to fail."""
    yield "## Not written\n"
    yield (
        "`tests/training/test_checkpoints.py` makes each flush, rename and making of a directory fail in turn, with\n"
        "ENOSPC and with EIO, and has the system end each file after 0 to 2,000 bytes. After each failure the latest\n"
        "checkpoint can be read, and is the one before, or the new one where only what came after it failed.\n"
    )


def costs(cost: dict[str, Any]) -> Iterator[str]:
    """What checkpoints cost."""
    yield "## Cost\n"
    yield f"    {cost['command']}\n"
    yield "| training | checkpoints | seconds for them | seconds of steps | share |"
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
    yield f"Measured on {machine['cpus']} processors, {machine['memory'] / 2**30:.0f} GiB; {named}."


if __name__ == "__main__":
    main()
