"""Several processes that train one model; without a process group everything here does nothing.

Every process trains on its own rows of a batch and has all parameters. Values are of all rows; a
gradient is that of the process' rows, and gradients are summed. Every function here is a
collective: all processes have to call it, in the same order; except `rank`, `world`, `local_world`,
`mine`, `send` and `received`.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recsys_mtl.errors import Problem, UserError

Value = TypeVar("Value")
_SILENCE = 1.0
"""Seconds between two signs of life of rank 0 while the others wait for its work."""


def _ready() -> bool:
    return dist.is_available() and dist.is_initialized()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if _ready() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if _ready() else 0


def local_world() -> int:
    """Number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", world())) if several() else 1


def several() -> bool:
    """Whether there is more than one process."""
    return world() > 1


def mine(count: int) -> int:
    """How many of `count` rows are this process': every `world`-th, from `rank`."""
    return max(0, -(-(count - rank()) // world()))


def summed(tensor: Tensor) -> Tensor:
    """The sum of every process' tensor, off the graph; the same bits everywhere."""
    total = tensor.detach()
    if several():
        total = total.clone()
        dist.all_reduce(total)
    return total


def anywhere(flag: bool) -> bool:
    """Whether a flag is set in any process."""
    if not several():
        return flag
    return bool(summed(torch.tensor(int(flag), device=_device())))


def largest(number: int) -> int:
    """The largest of the processes' numbers."""
    most = torch.tensor(number, device=_device())
    if several():
        dist.all_reduce(most, dist.ReduceOp.MAX)
    return int(most)


def each_anywhere(*flags: bool) -> list[bool]:
    """`anywhere` of several flags, in one exchange."""
    if not several():
        return list(flags)
    own = torch.tensor(flags, dtype=torch.int64, device=_device())
    return [bool(count) for count in summed(own).tolist()]


def gathered(tensor: Tensor) -> list[Tensor]:
    """Every process' tensor, by rank; they may differ in the number of rows (dim 0)."""
    if not several():
        return [tensor]
    counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(world())]
    dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
    rows = [int(count) for count in counts]
    if not max(rows):
        return [tensor for _ in rows]
    padded = tensor.new_zeros(max(rows), *tensor.shape[1:])
    padded[: len(tensor)] = tensor.detach()
    parts = [torch.empty_like(padded) for _ in rows]
    dist.all_gather(parts, padded)
    return [part[:count] for part, count in zip(parts, rows, strict=True)]


def to_first(tensor: Tensor) -> list[Tensor]:
    """Every process' tensor, all of one shape, by rank in process 0; none in the others."""
    if not several():
        return [tensor]
    own = tensor.detach().to(_device())
    parts = [torch.empty_like(own) for _ in range(world())] if rank() == 0 else None
    dist.gather(own, parts)
    return [part.to(tensor.device) for part in parts or []]


def send(tensor: Tensor, to: int) -> None:
    """Send a tensor to a process that calls `received`."""
    dist.send(tensor.detach().contiguous(), to)


def received(into: Tensor, source: int) -> Tensor:
    """The tensor that a process sends, of the shape of `into`, which it fills."""
    dist.recv(into, source)
    return into


def broadcast(value: Any) -> Any:
    """The JSON value of rank 0."""
    if not several():
        return value
    return _decoded(_of_first(_encoded(value if rank() == 0 else None)))


def broadcast_files(files: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """Content by name; that of rank 0, others may give None."""
    names = broadcast(None if files is None else list(files))
    if not several():
        return dict(files or {})
    own = {} if files is None else files
    return {name: _of_first(_bytes(own.get(name, b""))).cpu().numpy().tobytes() for name in names}


def broadcast_tensor(tensor: Tensor) -> None:
    """Fill a tensor with that of rank 0, which has the same shape and type."""
    if several() and tensor.numel():
        values = tensor.detach().to(_device()).contiguous()
        dist.broadcast(values, 0)
        tensor.detach().copy_(values)


def on_first(work: Callable[[], Value]) -> Value | None:
    """Do work without collectives on rank 0 alone; the others wait for it, and get None.

    Raises:
        UserError: that of rank 0, in all processes.
    """
    if rank() == 0:
        return together(lambda: _with_signs_of_life(work)) if several() else work()
    while anywhere(False):
        pass
    return together(lambda: None)


def in_step(items: Iterable[Value]) -> Iterator[Value]:
    """The items, as many in every process; a user's mistake in making one is raised in all.

    Raises:
        UserError: that of the first process that has one.
    """
    if not several():
        yield from items
        return
    iterator = iter(items)
    while True:
        made: list[Value] = []
        error: UserError | None = None
        try:
            made = list(islice(iterator, 1))
        except UserError as mistake:
            error = mistake
        if anywhere(error is not None):  # seldom: this costs one exchange, not three
            together(partial(_raised, error))
        if not made:
            return
        yield made.pop()


def together(work: Callable[[], Value]) -> Value:
    """Do work without collectives; a user's mistake in one process is raised in all of them.

    Raises:
        UserError: that of the first process that has one.
    """
    if not several():
        return work()
    results: list[Value] = []
    problems: list[dict[str, str]] = []
    try:
        results.append(work())
    except UserError as error:
        problems = [asdict(problem) for problem in error.problems]
    of_first = next(filter(None, map(_decoded, gathered(_encoded(problems)))), None)
    if of_first is not None:
        raise UserError(*(Problem(**problem) for problem in of_first))
    return results[0]


def require_same(tensors: Sequence[Tensor], what: str) -> None:
    """Refuse to continue with tensors whose bits differ between processes.

    Raises:
        RuntimeError: they differ.
    """
    if not several():
        return
    digest = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        flat = tensor.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    own = digest.hexdigest()
    if any(_decoded(other) != own for other in gathered(_encoded(own))):
        raise RuntimeError(
            f"{what} differ between processes: they no longer train one model; are the machines"
            " of one kind, with the same versions?"
        )


def _raised(error: UserError | None) -> None:
    if error is not None:
        raise error


def _with_signs_of_life(work: Callable[[], Value]) -> Value:
    """Do the work, and meanwhile let no wait of the others exceed their timeout."""
    device, done = _device(), threading.Event()
    lost: list[RuntimeError] = []

    def send() -> None:
        try:
            while not done.wait(_SILENCE):
                summed(torch.ones((), dtype=torch.int64, device=device))
            summed(torch.zeros((), dtype=torch.int64, device=device))
        except RuntimeError as error:
            lost.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        result = work()
    finally:
        done.set()
        thread.join()
    if lost:
        raise lost[0]
    return result


def _of_first(own: Tensor) -> Tensor:
    """(bytes,) of rank 0."""
    size = torch.tensor([len(own)], device=own.device)
    dist.broadcast(size, 0)
    text = own if rank() == 0 else own.new_empty(int(size))
    if int(size):
        dist.broadcast(text, 0)
    return text


def _bytes(text: bytes) -> Tensor:
    """(bytes,) uint8."""
    own = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(0).byte()
    return own.to(_device())


def _encoded(value: Any) -> Tensor:
    return _bytes(json.dumps(value).encode())


def _decoded(text: Tensor) -> Any:
    return json.loads(text.cpu().numpy().tobytes())


def _device() -> torch.device:
    """Where small values travel: nccl moves GPU memory only."""
    on_gpu = several() and dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
