"""Which processors train together: one, the GPUs of a machine, or the workers of a cluster.

TensorFlow connects them (``tf.distribute``); whatever the user has starts the processes.

- With ``"mirrored"``, one process drives several devices by `tf.distribute.MirroredStrategy`: each has a copy of every
  variable.
- With ``"multiworker"``, each process drives one device and has ordinary variables. All processes begin with the same
  values and apply the same gradients, which `tf.distribute.MultiWorkerMirroredStrategy` adds up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cnn_registry.errors import ClusterError, UsageError
from cnn_registry.system.progress import note, working
from cnn_registry.text import counted, one_line

from .cluster import EXAMPLE, Cluster, find_cluster
from .environment import tensorflow
from .health import Watch, joined_by_all
from .keras_internals import leave_out_coordination
from .replicas import ALL, Replicas

if TYPE_CHECKING:
    import numpy as np
    from tensorflow import Tensor

Distribute = Literal["auto", "none", "mirrored", "multiworker"]
"""How a training is distributed: by what is there, not at all, over the GPUs of a machine, or over processes."""

T = TypeVar("T")

WISHES = 2
"""What processes agree on after each step: to write a checkpoint, and to stop."""


class Distribution:
    """The processors that train together. This class is for one process with one device, which is alone.

    Attributes:
        kind: ``"none"``, ``"mirrored"`` or ``"multiworker"``.
        replicas: those of this process.
        is_chief: whether this process writes the run and shows progress.
        metrics_add_up: whether each replica has metrics of its own, whose sums are added when they are read.
    """

    kind = "none"
    replicas = ALL
    is_chief = True
    metrics_add_up = False

    @property
    def is_alone(self) -> bool:
        """Whether there is one replica only."""
        return self.replicas.of == 1

    def line(self) -> str:
        """The processors in a few words, for the end of a clause."""
        return ""

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, variables are made for all devices of this process."""
        yield

    def replica(self) -> Any:
        """The number of the replica that is being computed; within a step."""
        return 0

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all replicas, which call this with the same shapes; within a step."""
        return list(tensors)

    def all_gather(self, value: T) -> list[T]:
        """What each process has of something that JSON can express; all processes call this at the same point."""
        return [value]

    def broadcast_from_chief(self, make: Callable[[], T]) -> T:
        """What the chief makes, which JSON can express. Where that fails, the chief raises its error.

        Raises:
            ClusterError: in all other processes, where it fails in the chief.
        """
        return make()

    def broadcast_arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's values of arrays, which have the same shapes and types in all processes."""
        return list(arrays)

    def barrier(self) -> None:
        """Wait until all processes have come to this point."""
        self.all_gather(None)

    def any(self, wish: bool) -> bool:
        """Whether any process wishes something; all processes call this at the same point."""
        return any(self.all_gather(wish))

    def ask(self, *wishes: bool) -> None:
        """Say between two steps what this process wishes to be done after the next one; see `agreed`."""

    def agreed(self, *wishes: bool) -> tuple[bool, ...]:
        """After a step: what any process had wished before it, which is the same in all.

        Args:
            *wishes: what this process wishes now, which counts where it is alone.
        """
        return wishes

    def vote(self) -> None:
        """Within a training step: exchange what all processes wish."""

    @contextmanager
    def working_together(self) -> Iterator[None]:
        """Within it, the failure of another process is an error here.

        Raises:
            ClusterError: another process has ended, hangs, or cannot be reached.
        """
        yield

    def dataset(self, build: Callable[[], Any]) -> Any:
        """The batches that Keras is given; ``build`` makes the parts of this process's replicas, one after another."""
        return build()


ALONE = Distribution()


class Mirrored(Distribution):
    """Several devices of one process.

    Args:
        devices: TensorFlow's names of them.
    """

    kind = "mirrored"
    metrics_add_up = True

    def __init__(self, devices: Sequence[str]) -> None:
        self.strategy = tensorflow().distribute.MirroredStrategy(list(devices))
        self.replicas = Replicas(0, len(devices), len(devices))
        self._kind = devices[0].rpartition("device:")[2].partition(":")[0]

    def line(self) -> str:
        """The processors in a few words."""
        return f" on {counted(self.replicas.of, self._kind)}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, each variable has a copy on each device."""
        with self.strategy.scope():
            yield

    def replica(self) -> Any:
        """The number of the replica that is being computed."""
        return tensorflow().distribute.get_replica_context().replica_id_in_sync_group

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all devices."""
        tf = tensorflow()
        if not tensors:
            return []
        return list(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(tensors)))

    def dataset(self, build: Callable[[], Any]) -> Any:
        """The batches, of which each device takes its slice."""
        return self.strategy.distribute_datasets_from_function(lambda context: build())


class Workers(Distribution):
    """Several processes with one device each.

    Args:
        cluster: the processes.

    Raises:
        UsageError: TensorFlow has computed something in this process already, so that it cannot join others.
        ClusterError: another process was there and is lost, or TensorFlow cannot join them.
    """

    kind = "multiworker"

    def __init__(self, cluster: Cluster) -> None:
        tf = tensorflow()
        self._cluster = cluster
        self.replicas = Replicas(cluster.rank, 1, len(cluster.addresses))
        self.is_chief = cluster.rank == 0
        _take_own_gpu(cluster)
        experimental = tf.distribute.experimental
        gpu = bool(tf.config.get_visible_devices("GPU"))
        kinds = experimental.CommunicationImplementation
        options = experimental.CommunicationOptions(implementation=kinds.NCCL if gpu else kinds.RING)
        others = ", ".join(address for rank, address in enumerate(cluster.addresses) if rank != cluster.rank)
        try:
            with working(f"Waiting for the other workers ({others})", after=5.0):
                self.strategy = _connected(cluster, options)
        except RuntimeError as error:
            raise UsageError(
                f"Workers must be connected before TensorFlow computes anything in their processes; call train first "
                f"({one_line(error)})."
            ) from None
        except tf.errors.OpError as error:
            raise ClusterError(f"Worker {cluster.rank} cannot join the other workers: {one_line(error)}.") from None
        self._watch = Watch(self.strategy, cluster)
        self._asked, self._agreed = (tf.Variable(tf.zeros(WISHES), trainable=False) for _ in range(2))
        self._add = tf.function(
            lambda value: self.all_reduce_sum([value])[0],
            input_signature=[tf.TensorSpec([None], tf.int64)],
            autograph=False,
        )

    def line(self) -> str:
        """The processors in a few words."""
        return f" on {counted(self.replicas.of, 'worker')}"

    def replica(self) -> Any:
        """The number of this process."""
        return self.replicas.first

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over all workers."""
        tf = tensorflow()

        def add(*values: Tensor) -> list[Tensor]:
            # Copies that are made here have the replica's device, by which TensorFlow finds the others.
            context = tf.distribute.get_replica_context()
            return list(context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(value) for value in values]))

        if not tensors:
            return []
        return list(self.strategy.run(tf.autograph.experimental.do_not_convert(add), args=tuple(tensors)))

    def all_gather(self, value: T) -> list[T]:
        """What each process has of something that JSON can express."""
        import numpy as np

        text = json.dumps(value).encode()
        lengths = np.zeros(self.replicas.of, np.int64)
        lengths[self.replicas.first] = len(text)
        lengths = self._sum(lengths)
        rows = np.zeros((self.replicas.of, -(-int(lengths.max()) // 8)), np.int64)
        own = np.frombuffer(text.ljust(rows.shape[1] * 8, b" "), np.int64)
        rows[self.replicas.first] = own
        return [json.loads(row.tobytes()) for row in self._sum(rows)]

    def broadcast_from_chief(self, make: Callable[[], T]) -> T:
        """What the chief makes."""
        value, failure = None, None
        if self.is_chief:
            try:
                value = make()
            except BaseException as error:
                failure = error
        found, reason = self.all_gather((value, None if failure is None else one_line(failure)))[0]
        if failure is not None:
            raise failure
        if reason is not None:
            raise ClusterError(f"The chief ({self._cluster.name(0)}) has failed: {reason}")
        return value if self.is_chief else found  # type: ignore[return-value]  # what JSON makes of it

    def broadcast_arrays(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The chief's values of arrays, bit for bit."""
        import numpy as np

        shared = []
        for array in arrays:
            size = -(-array.nbytes // 8) * 8
            content = np.ascontiguousarray(array).tobytes() if self.is_chief else b""
            total = self._sum(np.frombuffer(content.ljust(size, b"\0"), np.int64))
            shared.append(np.frombuffer(total.tobytes()[: array.nbytes], array.dtype).reshape(array.shape))
        return shared

    def ask(self, *wishes: bool) -> None:
        """Say between two steps what this process wishes to be done after the next one."""
        self._asked.assign([float(wish) for wish in wishes])

    def agreed(self, *wishes: bool) -> tuple[bool, ...]:
        """After a step: what any process had wished before it."""
        return tuple(bool(count) for count in self._agreed.numpy())

    def vote(self) -> None:
        """Within a training step: exchange what all processes wish."""
        self._agreed.assign(self.all_reduce_sum([self._asked])[0])

    def _sum(self, values: np.ndarray) -> np.ndarray:
        tf = tensorflow()
        with self.working_together():
            total: np.ndarray = self._add(tf.constant(values.reshape(-1))).numpy()
        return total.reshape(values.shape)

    @contextmanager
    def working_together(self) -> Iterator[None]:
        """Within it, the failure of another process is an error here."""
        tf = tensorflow()
        try:
            yield
        except tf.errors.OpError as error:
            if not (lost := self._watch.lost(error)):
                raise
            raise ClusterError(f"Worker {self._cluster.rank} cannot continue: {lost}") from None


@cache
def _workers(cluster: str) -> Workers:
    """The workers of this process, which is connected once."""
    found = find_cluster()
    assert found is not None
    return Workers(found)


def distribution(wanted: Distribute) -> Distribution:
    """The processors that train together. Workers are connected, and wait for each other.

    Args:
        wanted: ``"auto"`` takes the workers of ``TF_CONFIG`` or of a SLURM step where there are several, else the GPUs
            of this machine where there are several, else none.

    Raises:
        UsageError: there are no such processors, or what describes the cluster is wrong.
        ClusterError: the workers cannot be connected.
    """
    if wanted == "none":
        return ALONE
    found = find_cluster() if wanted != "mirrored" else None
    if found and (wanted == "multiworker" or len(found.addresses) > 1):
        return _workers(str(found))
    if wanted == "multiworker":
        raise UsageError(
            f"--distribute multiworker needs TF_CONFIG in each process, in the form {EXAMPLE}, or a step that SLURM's "
            f"srun started. To try it on this machine: cnnreg launch --workers 2 -- train ..."
        )
    devices = _devices(wanted)
    if wanted == "mirrored" and len(devices) < 2:
        raise UsageError(f"--distribute mirrored needs two GPUs or more; TensorFlow finds {len(devices)}.")
    return Mirrored(devices) if len(devices) > 1 else ALONE


def _devices(wanted: Distribute) -> list[str]:
    """The GPUs of this machine; where it has none and they were asked for, its logical CPUs, which tests make."""
    config = tensorflow().config
    gpus = [device.name for device in config.list_logical_devices("GPU")] if config.list_physical_devices("GPU") else []
    if gpus or wanted == "auto":
        return gpus
    cpus = [device.name for device in config.list_logical_devices("CPU")]
    return cpus if len(cpus) > 1 else []


def _connected(cluster: Cluster, options: Any) -> Any:
    """TensorFlow's strategy of all workers, when they are there."""
    leave_out_coordination()
    return joined_by_all(
        lambda: tensorflow().distribute.MultiWorkerMirroredStrategy(cluster.resolver(), options), cluster
    )


def _take_own_gpu(cluster: Cluster) -> None:
    """Use one GPU: the one with this process's number among those of its host."""
    config = tensorflow().config
    gpus = config.list_physical_devices("GPU")
    if not gpus:
        return
    hosts = [address.rpartition(":")[0] for address in cluster.addresses]
    beside = hosts.count(hosts[cluster.rank])
    own = gpus[cluster.local_rank % len(gpus)]
    if len(gpus) > beside and not cluster.local_rank:
        note(
            f"{counted(len(gpus), 'GPU')} are here for {counted(beside, 'worker')}, and each worker uses one. Start as "
            f"many workers as there are GPUs."
        )
    with suppress(RuntimeError):  # TensorFlow has been used: the strategy says so
        config.set_visible_devices(own, "GPU")
