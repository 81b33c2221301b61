"""The processes of one training: they join as a launcher started them, and end together."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Literal, Self

import torch
import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from recsys_mtl import parallel
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.processes import LostError, ReportedError, launched

_ENDED, _PROBLEMS = "recsys_mtl/ended", "recsys_mtl/problems"
_PATIENCE = timedelta(seconds=5)
"""How long another process waits for the mistakes that rank 0 has reported."""


class ProcessGroup:
    """The default process group while a training needs it.

    One is made where the environment is that of torchrun with a WORLD_SIZE above 1; one that the
    program made before (Ray Train) is used and left alone. Otherwise nothing happens. An error
    inside ends all processes; rank 0 reports the mistakes of users that all of them have.

    Args:
        device: `training.device`.
        timeout_s: seconds that a process waits for the others.

    Raises:
        UserError: the processes do not reach each other, or have no GPU each.
    """

    def __init__(self, device: Literal["auto", "cpu", "cuda"], timeout_s: float) -> None:
        self._timeout = timedelta(seconds=timeout_s)
        self._store: Store | None = None
        self._on_gpu = device != "cpu" and torch.cuda.is_available()

    def __enter__(self) -> Self:
        if launched() and not dist.is_initialized():
            if self._on_gpu:
                _take_gpu()
            self._join()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        rank, several = parallel.rank(), parallel.several()
        store, self._store = self._store, None
        if error is None or not several:
            self._leave(store)
            return
        lost = isinstance(error, RuntimeError) and _is_loss(error)
        reported = False
        if isinstance(error, UserError) and store is not None:
            reported = self._reported(store, error, rank)
        self._leave(store)
        if store is not None and rank and not lost:  # a launcher ends all as soon as one has ended
            with suppress(RuntimeError):
                store.wait([_ENDED], self._timeout)
        if lost:
            raise _lost(rank, str(error)) from error
        if reported and isinstance(error, UserError):
            raise ReportedError(*error.problems) from error

    def leave(self) -> None:
        """End the part of the work that all processes share; all call it."""
        store, self._store = self._store, None
        self._leave(store)

    def _leave(self, store: Store | None) -> None:
        if store is not None and dist.is_initialized():
            dist.destroy_process_group()

    def _join(self) -> None:
        backend = "cpu:gloo,cuda:nccl" if self._on_gpu else "gloo"
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        try:
            store, rank, world = next(rendezvous("env://", timeout=self._timeout))
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=world, timeout=self._timeout
            )
        except ValueError as error:
            missing = str(error).rpartition(": ")[2]
            fix = "start it by torchrun or --processes; or unset WORLD_SIZE"
            raise wrong(
                "not started as one of several processes",
                where="WORLD_SIZE",
                found=missing,
                fix=fix,
            ) from error
        except RuntimeError as error:
            raise wrong(
                f"the {os.environ['WORLD_SIZE']} processes do not reach each other",
                where=f"MASTER_ADDR and MASTER_PORT, {where}",
                found=str(error).split("\n")[0],
                fix="check that all were started, and set GLOO_SOCKET_IFNAME to the interface"
                " that the machines share",
            ) from error
        self._store = store
        if rank == 0:
            atexit.register(_end, store)

    def _reported(self, store: Store, error: UserError, rank: int) -> bool:
        """Whether rank 0 reports the same mistakes."""
        lines = str(error)
        with suppress(RuntimeError):
            if rank == 0:
                store.set(_PROBLEMS, lines)
                return False
            store.wait([_PROBLEMS], _PATIENCE)
            return bool(store.get(_PROBLEMS) == lines.encode())
        return False


def share_threads(threads: int | None) -> None:
    """Set torch's CPU threads; None: those of torch, or this process' share of the cores."""
    if threads is None and parallel.several():
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max(1, (cores or 1) // parallel.local_world())
    if threads is not None:
        torch.set_num_threads(threads)


def _take_gpu() -> None:
    own, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if own >= count:
        raise wrong(
            "every process needs a GPU of its own",
            where=f"LOCAL_RANK={own}",
            expected=f"at most {count} processes on this machine",
            fix="start fewer processes, or set training.device=cpu",
        )
    torch.cuda.set_device(own)


def _end(store: Store) -> None:
    with suppress(RuntimeError):
        store.set(_ENDED, "")


def _is_loss(error: RuntimeError) -> bool:
    """Whether a collective failed because of another process or the network."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _lost(rank: int, reason: str) -> LostError:
    reason = (
        reason.split("\n")[0].rpartition("] ")[2] if "gloo" in reason else reason.split("\n")[0]
    )
    error = wrong(
        "another process of this training ended, or did not answer within"
        " training.distributed.timeout_s",
        where=f"process {rank}",
        found=reason.partition(". This is typically")[0],
        fix="its own lines say why; start all processes again",
    )
    return LostError(*error.problems)
