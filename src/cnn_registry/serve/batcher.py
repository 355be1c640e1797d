"""Pictures of different requests go through the network together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cnn_registry.data.dataset import Bytes
from cnn_registry.inference.pictures import BATCH_SIZE

Waiting = tuple[Bytes, "asyncio.Future[np.ndarray]"]


class Batcher:
    """Collects what waits while the network is busy, and gives it to the network in one batch.

    Nothing waits for a batch to fill: a single picture goes at once.

    Args:
        network: from uint8 ``(N, height, width, channels)`` to a row for each picture.
        thread: runs the network.
        at_a_time: pictures in a batch at most.
    """

    def __init__(
        self, network: Callable[[Bytes], np.ndarray], thread: ThreadPoolExecutor, at_a_time: int = BATCH_SIZE
    ) -> None:
        self._network, self._thread, self._at_a_time = network, thread, at_a_time
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def run(self) -> None:
        """Work until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._at_a_time and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            try:
                squares = np.stack([square for square, _ in batch])
                rows = await loop.run_in_executor(self._thread, self._network, squares)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
            else:
                for row, (_, future) in zip(rows, batch, strict=True):
                    if not future.done():  # whoever waited may have left
                        future.set_result(row)

    async def __call__(self, squares: Sequence[Bytes]) -> list[np.ndarray]:
        """The row of each picture."""
        loop = asyncio.get_running_loop()
        futures = []
        for square in squares:
            future: asyncio.Future[np.ndarray] = loop.create_future()
            futures.append(future)
            self._queue.put_nowait((square, future))
        return list(await asyncio.gather(*futures))
