"""Requests that wait while the model works are scored together, in one thread.

The event loop stays free: it reads and answers requests while the thread scores.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch

from recsys_mtl.service.metrics import Metrics
from recsys_mtl.service.model import LoadedModel
from recsys_mtl.service.request import Row


class FullError(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True)
class Limits:
    """Bounds of the work.

    Attributes:
        max_rows: of a request.
        max_body: MiB of a request's body.
        max_waiting: requests that wait for the model.
        batch_rows: after which no further request joins a batch.
        batch_wait_ms: that the first request of a batch waits for others.
        timeout_s: of a request.
        threads: of the model's matrix products.
    """

    max_rows: int = 1000
    max_body: float = 8
    max_waiting: int = 256
    batch_rows: int = 256
    batch_wait_ms: float = 0
    timeout_s: float = 30
    threads: int = 1


@dataclass(frozen=True, eq=False, slots=True)
class _Waiting:
    model: LoadedModel
    rows: Sequence[Row]
    answer: asyncio.Future[bytes]


class Batcher:
    """Scores requests in the order in which they came.

    Args:
        limits: of the batches and of what waits.
        metrics: counts batches and their rows.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._worker = ThreadPoolExecutor(
            1, "model", initializer=partial(torch.set_num_threads, limits.threads)
        )

    async def score(self, model: LoadedModel, rows: Sequence[Row]) -> bytes:
        """The JSON list of the rows' predictions.

        Raises:
            FullError: too many requests wait.
            UserError: the rows cannot be predicted.
        """
        if sum(not waiting.answer.done() for waiting in self._waiting) >= self._limits.max_waiting:
            raise FullError
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(model, rows, answer))
        self._arrived.set()
        return await answer

    async def run(self) -> None:
        """Score what waits, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            if self._limits.batch_wait_ms:
                await asyncio.sleep(self._limits.batch_wait_ms / 1000)
            batch = self._next()
            if not self._waiting:
                self._arrived.clear()
            if not batch:
                continue
            rows = [waiting.rows for waiting in batch]
            answers = await loop.run_in_executor(self._worker, batch[0].model.answers, rows)
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():  # its request was given up
                    continue
                if isinstance(answer, bytes):
                    waiting.answer.set_result(answer)
                else:
                    waiting.answer.set_exception(answer)

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown()

    def _next(self) -> list[_Waiting]:
        """The oldest requests of one model that fit into a batch; at least one."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting:
            first = self._waiting[0]
            if first.answer.done():
                self._waiting.popleft()
                continue
            together = rows + len(first.rows) <= self._limits.batch_rows
            if batch and not (together and first.model is batch[0].model):
                break
            batch.append(self._waiting.popleft())
            rows += len(first.rows)
        if batch:
            self._metrics.batch(len(batch), rows)
        return batch
