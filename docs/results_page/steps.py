"""How fast the models train."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from docs.results_page.facts import Facts, conditions, table

PEERS = {"plain": "plain Keras", "jax": "Keras on JAX", "pytorch": "PyTorch", "pytorch-compiled": "compiled"}
"""The sides that our training steps are compared with, and the heads of their columns."""

SHORT = "-bfloat16"
"""At the end of the names of sides that compute in bfloat16."""


def throughput(results: Sequence[Facts]) -> Iterator[str]:
    """Training steps compared with those of plain Keras and PyTorch, on each kind of CPU."""
    if not results:
        return
    yield "## Training steps\n"
    yield (
        "Images per second: forward pass, backward pass and update with Adam. All train the same network on the same "
        "batch and take turns: plain Keras as in a script, with TensorFlow's default flags and with JAX; PyTorch, also "
        "with `torch.compile`; and the library (*ours*). Speeds are medians, ratios medians over the rounds: of ours "
        "to plain Keras, with every round, and of ours to the faster of PyTorch's two. *Peak* is the speed of float32 "
        "matrix products in the same rounds, *share* the part of it that the fastest round of our steps reached. In "
        "bfloat16, plain Keras has the policy `mixed_bfloat16`, PyTorch its autocast, and ours `precision = bfloat16`; "
        "*to float32* is the ratio of ours to plain Keras in float32.\n"
    )
    for facts in results:
        yield f"### On {facts['machine']['processor']}\n"
        yield speeds(facts["cells"], "")
        if any("ours" + SHORT in cell["speeds"] for cell in facts["cells"]):
            yield "In bfloat16:\n"
            yield speeds(facts["cells"], SHORT)
        commands = dict.fromkeys(cell["command"] for cell in facts["cells"])
        yield "Measured one after another with:\n"
        yield "\n".join(f"    {command}" for command in commands) + "\n"
        yield conditions(facts)


def speeds(cells: Sequence[Facts], suffix: str) -> str:
    """A table of training steps in one precision; columns of sides that were never measured are left out."""
    cells = [cell for cell in cells if "ours" + suffix in cell["speeds"]]
    peers = [side for side in PEERS if any(side + suffix in cell["speeds"] for cell in cells)]
    shown = [*peers, "ours", *(f"to {PEERS[side]}" for side in peers if side in ("plain", "pytorch"))]
    last = ["to float32"] if suffix else ["peak, GFLOP/s", "share"]
    head = ["model", "pixels", "batch", *(PEERS.get(name, name) for name in shown), *last, "load"]
    return table(head, [speeds_row(cell, peers, suffix) for cell in cells])


def speeds_row(cell: Facts, peers: Sequence[str], suffix: str) -> list[object]:
    """One network at one size; not every side was measured on every machine."""
    found = {side: cell["speeds"][side + suffix] for side in (*PEERS, "ours") if side + suffix in cell["speeds"]}
    ours = found["ours"]
    row: list[object] = [f"`{cell['model']}`", cell["size"], cell["batch_size"]]
    row += [f"{np.median(found[side]):.2f}" if side in found else "" for side in (*peers, "ours")]
    if "plain" in peers:
        rounds = np.divide(ours, found["plain"]) if "plain" in found else []
        shown = ", ".join(f"{ratio:.2f}" for ratio in rounds)
        row += [f"**{np.median(rounds):.2f}** ({shown})" if shown else ""]
    if "pytorch" in peers:
        torch = [found[side] for side in ("pytorch", "pytorch-compiled") if side in found]
        row += [f"**{np.median(np.divide(ours, np.max(torch, axis=0))):.2f}**" if torch else ""]
    if suffix:
        row += [f"{np.median(np.divide(ours, cell['speeds']['plain'])):.2f}"]
    else:
        row += [f"{cell['peak_flops'] / 1e9:.0f}", f"{cell['share_of_peak']:.0%}"]
    return [*row, "to".join(f" {load} " for load in cell["load_average"].values()).strip()]


def first_step(facts: Facts) -> Iterator[str]:
    """The time until the first training step."""
    yield "## The first step\n"
    yield (
        f"Seconds from the start of Python to the end of the first training step, `{facts['model']}` at "
        f"{facts['size']} pixels, batch {facts['batch_size']}; all measurements, alternating. CPU time is the sum over "
        "all cores; it depends less on other load.\n"
    )
    yield table(
        ["optimizer", "our recipe", "plain Keras", "ours", "plain Keras, CPU time", "ours, CPU time"],
        [
            [
                row["optimizer"],
                row["recipe"],
                *(", ".join(f"{t:.1f}" for t in row[key]) for key in ("plain", "ours", "plain_cpu", "ours_cpu")),
            ]
            for row in facts["rows"]
        ],
    )


def memory(facts: Facts) -> Iterator[str]:
    """The memory that a training needs at its peak."""
    yield "## Memory\n"
    yield (
        "The most memory that a process held, in GB, with its libraries, while it took some training steps at batch "
        f"{facts['batch_size']}; medians. Plain Keras and PyTorch are scripts with Adam in float32. Ours is `train`, "
        "with validation and a checkpoint: with the recipe `article`, which has the same network, optimizer and "
        "precision, and with `default`. The ratios are to plain Keras and to PyTorch.\n"
    )
    sides = list(facts["rows"][0]["peaks"])
    scripts = [side for side in sides if not side.startswith("ours")]
    ratios = [(ours, script) for ours in sides if ours not in scripts for script in scripts]
    rows = []
    for row in facts["rows"]:
        peaks = {side: float(np.median(found)) for side, found in row["peaks"].items()}
        shares = [f"{peaks[ours] / peaks[script]:.2f}" for ours, script in ratios]
        rows.append([f"`{row['model']}`", row["size"], *(f"{peaks[side] / 1e9:.2f}" for side in sides), *shares])
    heads = [PEERS.get(side, side) for side in sides]
    yield table(["model", "pixels", *heads, *(f"{ours} / {PEERS[script]}" for ours, script in ratios)], rows)
