"""Print ``docs/reliability.md`` from the results of ``make chaos`` in ``benchmarks/results``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
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
    names = ("chaos", "chaos_workers", "checkpoint_cost")
    chaos, workers, cost = (json.loads((RESULTS / f"{name}.json").read_text()) for name in names)
    parts = [HEAD, *killed(chaos), *disturbed(workers), *damaged(chaos), *calls(), *costs(cost), *where(chaos)]
    print("\n".join(parts))


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


def disturbed(workers: dict[str, Any]) -> Iterator[str]:
    """The faults of several workers."""
    faults, ends = workers["faults"], workers["differences"]
    clear = sum(fault["clear"] for fault in faults)
    yield "## Several workers, disturbed and resumed\n"
    yield f"    {workers['command']}\n"
    yield f"trains on {workers['workers']} workers, each in a network namespace of its own, with\n"
    yield f"    {workers['training']}\n"
    yield (
        "At random moments, one worker is killed, stopped (SIGSTOP) or cut off (its link is set down), or a disk is\n"
        "filled. Another version of a plugin and other images (one is turned, has another label, or is missing) are\n"
        "there from the start of a worker. All others have to end within 60 seconds with one line that says why.\n"
        "Then all are started again with `--resume auto`. A worker that was stopped continues when the others have\n"
        "ended, and has to end as well. A worker writes nothing but its cache, without which it trains on.\n"
    )
    yield (
        "The first of each kind is done in a training that has begun, the second while the workers join each other or\n"
        "prepare it.\n"
    )
    yield "| fault | times | seconds after that | seconds until all others had ended | what a worker says |"
    yield "|---|--:|---|---|---|"
    for kind in dict.fromkeys(fault["kind"] for fault in faults):
        of_kind = [fault for fault in faults if fault["kind"] == kind]
        lines = [line for fault in of_kind for line in fault["lines"].values() if line]
        said = max(lines, key=len, default="").removeprefix("Error: ") or "nothing"
        moments, seconds = (_range(fault[name] for fault in of_kind) for name in ("moment", "seconds"))
        yield f"| {kind} | {len(of_kind)} | {moments} | {seconds} | {said} |"
    latest = max(fault["step"] for fault in faults)
    same = "identical" if not any(ends) else "not all identical"
    yield (
        f"\n{clear} of {len(faults)} ended as they have to. At a fault, the latest checkpoint was of step {latest}\n"
        f"at most. Disturbed trainings that came to their end: {len(ends)}. The status, the history, the best weights\n"
        f"and the last weights were compared, bit for bit, with those of one that was not disturbed: {same}.\n"
    )


def _range(values: Iterable[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.1f}" if found[0] == found[-1] else f"{found[0]:.1f} to {found[-1]:.1f}"


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
