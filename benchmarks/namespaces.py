"""Workers of one training, each in a network namespace of its own where the machine allows that (Linux, as root)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cnn_registry.system.progress import note


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
                    shaped = ["tbf", "rate", rate, "burst", "32kb", "latency", "400ms"]
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


@dataclass(frozen=True)
class Odd:
    """What is different for one worker when it starts.

    Attributes:
        worker: its number.
        variables: of its environment.
        before: a command that its own begins with.
    """

    worker: int
    variables: dict[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()


def started(
    where: Network, workers: int, command: Sequence[str], logs: Path, port: int, odd: Odd | None = None
) -> list[subprocess.Popen[str]]:
    """The workers of one training, which print into ``log-0``, ``log-1`` … in ``logs``."""
    addresses = [f"{where.host(number)}:{port + number}" for number in range(workers)]
    processes = []
    for number in range(workers):
        described = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        variables = {"TF_CONFIG": json.dumps(described), "TF_NUM_INTRAOP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        own = odd if odd and odd.worker == number else Odd(number)
        processes.append(
            subprocess.Popen(
                [*where.command(number), *own.before, *command],
                env=os.environ | variables | own.variables,
                stdout=subprocess.DEVNULL,
                stderr=(logs / f"log-{number}").open("w"),
                text=True,
                start_new_session=True,
            )
        )
    return processes


def mounted(script: str) -> list[str]:
    """What a command begins with that finds something mounted that other processes do not see."""
    return ["unshare", "--mount", "sh", "-c", f'{script}; exec "$@"', "sh"]


def listens(pid: int, port: int) -> bool:
    """Whether anyone listens at a port in the network of a process."""
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False
