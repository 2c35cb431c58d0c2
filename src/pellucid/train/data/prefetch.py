"""Batches made beside the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Self

from torch import Tensor

from pellucid.train.data.crops import Crops

Schedule = Callable[[int], tuple[int, int]]


class Prefetch:
    """Iterates over (step, crops) from step `first` on; the next `ahead` steps are being made in threads.

    The order is that of the steps and every batch is `crops.batch(*schedule(step), step=step, rank=rank)`, whatever
    the number of workers. Use it as a context, so that the threads end with the training.

    Args:
        crops: what makes batches.
        schedule: step -> (count, size).
        first, last: steps; without `last` there is no end.
        rank: of this process.
        workers: threads.
        ahead: batches that wait, at most.
        seed: see `Crops.batch`.
    """

    def __init__(
        self,
        crops: Crops,
        schedule: Schedule,
        *,
        first: int = 0,
        last: int | None = None,
        rank: int = 0,
        workers: int = 1,
        ahead: int = 2,
        seed: int | None = None,
    ) -> None:
        self._crops, self._schedule, self._rank, self._seed = crops, schedule, rank, seed
        self._pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="crops")
        self._steps = iter(count(first) if last is None else range(first, last))
        self._waiting: deque[tuple[int, Future[Tensor]]] = deque()
        for _ in range(max(1, ahead)):
            self._submit()

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._waiting.append((step, self._pool.submit(self._make, step)))

    def _make(self, step: int) -> Tensor:
        number, size = self._schedule(step)
        return self._crops.batch(number, size, step=step, rank=self._rank, seed=self._seed)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        return self

    def __next__(self) -> tuple[int, Tensor]:
        if not self._waiting:
            raise StopIteration
        step, future = self._waiting.popleft()
        batch = future.result()
        self._submit()
        return step, batch

    def close(self) -> None:
        """Drops what waits, and ends the threads."""
        self._waiting.clear()
        self._steps = iter(())
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
