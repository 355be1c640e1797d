"""Kill, hang and cut off workers at random moments, and test that the others end and the result is the same.

    python -m benchmarks.chaos_workers --faults 20

Two workers train LeNet-5 on handwritten digits, each in a network namespace of its own where the machine allows that
(Linux, as root), else on the local address, where links cannot be cut. At each fault the other worker has to end with
one line within a minute; then both are started again with ``--resume auto``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos import arrays, latest_step, only_run
from cnn_registry.runs.history import read_history
from cnn_registry.runs.machine import machine, versions
from cnn_registry.system.progress import note

RESULT = Path(__file__).parent / "results" / "chaos_workers.json"

WITHIN = 60.0
"""Seconds within which the others have to end."""

KINDS = ("kill worker", "hang worker", "cut worker", "kill chief", "hang chief")


@dataclass
class Network:
    """Where the workers run.

    Attributes:
        names: of their namespaces; empty without any.
        hosts: their addresses.
    """

    names: list[str] = field(default_factory=list)
    hosts: list[str] = field(default_factory=lambda: ["127.0.0.1"])

    def command(self, worker: int) -> list[str]:
        """What a worker's command begins with."""
        return ["ip", "netns", "exec", self.names[worker]] if self.names else []

    def host(self, worker: int) -> str:
        """The address of a worker."""
        return self.hosts[worker % len(self.hosts)]

    def link(self, worker: int, state: str) -> None:
        """Cut a worker off (``"down"``), or connect it again (``"up"``)."""
        ip("link", "set", f"{self.names[worker]}-h", state)


def ip(*arguments: str) -> None:
    """Run the command ``ip``."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def network(workers: int, rate: str | None = None) -> Iterator[Network]:
    """Network namespaces on one bridge, or the local address where the machine allows none.

    Args:
        workers: how many.
        rate: of each link, as ``tc`` writes it: ``"1gbit"``; default as fast as the machine.
    """
    prefix = f"cw{os.getpid() % 10000}"
    names, bridge = [f"{prefix}-{number}" for number in range(workers)], f"{prefix}-br"
    with ExitStack() as stack:
        try:
            ip("link", "add", bridge, "type", "bridge")
            stack.callback(suppressed, "link", "del", bridge)
            ip("link", "set", bridge, "up")
            for number, name in enumerate(names):
                ip("netns", "add", name)
                stack.callback(suppressed, "netns", "del", name)
                ip("link", "add", f"{name}-h", "type", "veth", "peer", "name", "eth0", "netns", name)
                stack.callback(suppressed, "link", "del", f"{name}-h")
                ip("link", "set", f"{name}-h", "master", bridge, "up")
                for part in (["addr", "add", f"10.77.0.{number + 1}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
                    ip("-n", name, *part)
                ip("-n", name, "link", "set", "lo", "up")
                if rate:
                    shaped = ["tbf", "rate", rate, "burst", "256kb", "latency", "100ms"]
                    for place in ([], ["ip", "netns", "exec", name]):
                        device = "eth0" if place else f"{name}-h"
                        subprocess.run([*place, "tc", "qdisc", "add", "dev", device, "root", *shaped], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            note(f"No network namespaces here ({error}); links are not cut.")
            yield Network()
            return
        yield Network(names, [f"10.77.0.{number + 1}" for number in range(workers)])


def suppressed(*arguments: str) -> None:
    """Run the command ``ip``, whatever comes of it."""
    with suppress(subprocess.CalledProcessError):
        ip(*arguments)


def started(where: Network, workers: int, command: list[str], out: Path, port: int) -> list[subprocess.Popen[str]]:
    """The workers of one training."""
    addresses = [f"{where.host(number)}:{port + number}" for number in range(workers)]
    processes = []
    for number in range(workers):
        described = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        environment = os.environ | {"TF_CONFIG": json.dumps(described), "TF_NUM_INTRAOP_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                [*where.command(number), *command, "--out", str(out)],
                env=environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.DEVNULL,
                stderr=(out.parent / f"log-{number}").open("w"),
                text=True,
                start_new_session=True,
            )
        )
    return processes


def fault(kind: str, where: Network, processes: list[subprocess.Popen[str]], folder: Path) -> dict[str, Any]:
    """Do one fault, wait for the other worker to end, and clean up."""
    victim = 0 if kind.endswith("chief") else 1
    other = processes[1 - victim]
    began = time.monotonic()
    if kind.startswith("cut"):
        where.link(victim, "down")
    else:
        processes[victim].send_signal(signal.SIGKILL if kind.startswith("kill") else signal.SIGSTOP)
    try:
        code: int | None = other.wait(timeout=2 * WITHIN)
    except subprocess.TimeoutExpired:
        code = None
    seconds = time.monotonic() - began
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if kind.startswith("cut"):
        where.link(victim, "up")
    lines = (folder / f"log-{1 - victim}").read_text().strip().splitlines()
    errors = [line for line in lines if line.startswith("Error:")]
    return {
        "fault": kind,
        "seconds": round(seconds, 1),
        "exit_code": code,
        "line": errors[-1] if errors else "",
        "clear": bool(errors) and code == 1 and seconds <= WITHIN,
    }


def main() -> None:
    """Run all faults and write ``benchmarks/results/chaos_workers.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--seconds", type=float, default=8.0, help="maximum seconds of training before a fault")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    settings = {"batch_size": 128, "image_size": 32, "ema": 1, "deterministic": "true", "epochs": arguments.epochs}
    command = [sys.executable, "-m", "cnn_registry", "train", "lenet5", "--dataset", "digits", "--resume", "auto"]
    command += [
        "--checkpoint-minutes",
        "0.02",
        *(part for item in settings.items() for part in ("--set", f"{item[0]}={item[1]}")),
    ]
    rng, port = random.Random(0), 23000
    done: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="cnnreg-chaos-") as name, network(2) as where:
        folder = Path(name)
        kinds = [kind for kind in KINDS if where.names or not kind.startswith("cut")]
        (folder / "still").mkdir()
        for process in started(where, 2, command, folder / "still" / "runs", port):
            if process.wait():
                raise SystemExit((folder / "still" / "log-0").read_text())
        (folder / "disturbed").mkdir()
        out = folder / "disturbed" / "runs"
        while True:
            port += 2
            processes = started(where, 2, command, out, port)
            if len(done) == arguments.faults:
                codes = [process.wait() for process in processes]
                if any(codes):
                    raise SystemExit((out.parent / "log-0").read_text())
                break
            log = out.parent / "log-0"
            while " into " not in log.read_text() and " resumes in " not in log.read_text():
                if processes[0].poll() is not None:
                    raise SystemExit(f"Training ended before a fault: {log.read_text()}")
                time.sleep(0.1)
            time.sleep(rng.uniform(0, arguments.seconds))
            if all(process.poll() == 0 for process in processes):
                note("The training ended before all faults were done; use more --epochs.")
                break
            done.append(fault(kinds[len(done) % len(kinds)], where, processes, out.parent) | {"step": latest_step(out)})
            note(f"{len(done)}: {done[-1]}")
        one, other = only_run(folder / "still" / "runs"), only_run(out)
        rows = [
            [(row.loss, row.val_loss, row.val_accuracy) for row in read_history(run.history_csv)]
            for run in (one, other)
        ]
        weights = [arrays(run.last_weights) for run in (one, other)]
        same = rows[0] == rows[1] and all((a == b).all() for a, b in zip(*weights, strict=True))
    result = {
        "command": " ".join(["python", "-m", "benchmarks.chaos_workers", *sys.argv[1:]]),
        "versions": versions(),
        "machine": machine(),
        "namespaces": bool(where.names),
        "faults": done,
        "same_end": same,
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    end = "the same" if same else "another"
    note(f"{len(done)} faults, {sum(item['clear'] for item in done)} ended clearly; the end is {end}")
    if not same or not all(item["clear"] for item in done):
        sys.exit(1)


if __name__ == "__main__":
    main()
