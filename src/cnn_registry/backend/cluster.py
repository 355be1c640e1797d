"""The processes of a cluster, as what started them describes it: ``TF_CONFIG``, or the variables of a SLURM step."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from cnn_registry.errors import UsageError

from .environment import tensorflow

TF_CONFIG = "TF_CONFIG"
"""TensorFlow's own description of a cluster, as Kubernetes' training operator and Ray Train set it."""

SLURM_TASKS = "SLURM_STEP_NUM_TASKS"
"""Set by ``srun``, not by ``sbatch``: a script that calls no ``srun`` is one process, whatever it asked for."""

EXAMPLE = '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'

PORT = 8888
"""The first port of the processes that SLURM starts on a machine."""


_NODES = re.compile(r"([^,\[\]]+)(?:\[([^\]]+)\])?([^,\[\]]*)")


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        jobs: their addresses, ``host:port``, by job: ``"chief"`` if there is one, and ``"worker"``.
        job: that of this process.
        index: the number of this process in its job.
    """

    jobs: dict[str, list[str]]
    job: str
    index: int

    @property
    def addresses(self) -> list[str]:
        """The addresses of all processes, the chief's first."""
        return [*self.jobs.get("chief", ()), *self.jobs.get("worker", ())]

    @property
    def rank(self) -> int:
        """The number of this process among all."""
        return self.index + (len(self.jobs.get("chief", ())) if self.job == "worker" else 0)

    @property
    def local_rank(self) -> int:
        """The number of this process among those of the same host."""
        hosts = [_host(address) for address in self.addresses]
        return hosts[: self.rank].count(hosts[self.rank])

    def name(self, rank: int) -> str:
        """A process as messages name it."""
        return f"worker {rank}, {self.addresses[rank]}"

    def task(self, rank: int) -> str:
        """TensorFlow's name of a process."""
        chiefs = len(self.jobs.get("chief", ()))
        job, index = ("chief", rank) if rank < chiefs else ("worker", rank - chiefs)
        return f"/job:{job}/replica:0/task:{index}"

    def resolver(self) -> Any:
        """What TensorFlow's strategies take."""
        tf = tensorflow()
        return tf.distribute.cluster_resolver.SimpleClusterResolver(
            tf.train.ClusterSpec(self.jobs), task_type=self.job, task_id=self.index, rpc_layer="grpc"
        )


def find_cluster() -> Cluster | None:
    """The cluster that this process was started in; ``None`` outside one.

    Raises:
        UsageError: its description is wrong.
    """
    if text := os.environ.get(TF_CONFIG, "").strip():
        return parsed(text)
    if int(os.environ.get(SLURM_TASKS, "0") or 0) > 1:
        return _slurm()
    return None


def parsed(text: str) -> Cluster | None:
    """The cluster that a ``TF_CONFIG`` describes; ``None`` where it names none, as for a single process.

    Raises:
        UsageError: it cannot be read, or has other jobs than a chief and workers.
    """
    try:
        found = json.loads(text)
        jobs = {str(job): [str(address) for address in addresses] for job, addresses in found["cluster"].items()}
        if not jobs:
            return None
        job, index = str(found["task"]["type"]), int(found["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, KeyError) and error.args == ("cluster",):
            return None
        raise UsageError(f"TF_CONFIG describes no cluster; expected the form {EXAMPLE}; got {text:.200}") from None
    if others := jobs.keys() - {"chief", "worker"}:
        raise UsageError(
            f"TF_CONFIG has the job {min(others)!r}; training takes 'worker', and one 'chief' before them."
        )
    if len(jobs.get("chief", ())) > 1:
        raise UsageError(f"TF_CONFIG names {len(jobs['chief'])} chiefs; there is at most one.")
    if not 0 <= index < len(jobs.get(job, ())):
        raise UsageError(f"TF_CONFIG says that this process is {job} {index}, which is not in its cluster: {jobs}.")
    cluster = Cluster(jobs, job, index)
    if len({*cluster.addresses}) < len(cluster.addresses):
        raise UsageError(f"TF_CONFIG names an address twice: {', '.join(cluster.addresses)}. Each process has its own.")
    return cluster


def _slurm() -> Cluster:
    """The tasks of a SLURM step, in their order.

    TensorFlow's own resolver sorts the hosts by their letters, so that ``n10`` comes before ``n2``, as SLURM does not.
    """
    try:
        hosts = _hosts(os.environ["SLURM_STEP_NODELIST"])
        counts = _tasks(os.environ["SLURM_STEP_TASKS_PER_NODE"])
        rank = int(os.environ["SLURM_PROCID"])
        addresses = [
            f"{host}:{PORT + number}" for host, count in zip(hosts, counts, strict=True) for number in range(count)
        ]
        if not 0 <= rank < len(addresses):
            raise ValueError(f"task {rank} of {len(addresses)}")
    except (ValueError, KeyError) as error:
        raise UsageError(f"SLURM's variables do not describe a cluster ({error}). Start training with srun.") from None
    return Cluster({"worker": addresses}, "worker", rank)


def _hosts(nodes: str) -> list[str]:
    """The hosts of a list as SLURM writes it: ``"a[1-3,07],b"``."""
    hosts = []
    for prefix, ranges, suffix in _NODES.findall(nodes):
        for part in ranges.split(",") if ranges else [""]:
            first, _, last = part.partition("-")
            numbers = range(int(first), int(last or first) + 1) if part else [None]
            hosts += [f"{prefix}{'' if number is None else f'{number:0{len(first)}}'}{suffix}" for number in numbers]
    return hosts


def _tasks(counts: str) -> list[int]:
    """The numbers of tasks of each host, as SLURM writes them: ``"3(x2),1"``."""
    found: list[int] = []
    for part in counts.split(","):
        count, _, times = part.rstrip(")").partition("(x")
        found += [int(count)] * int(times or 1)
    return found


def _host(address: str) -> str:
    return address.rpartition(":")[0] or address
