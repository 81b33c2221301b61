"""The state of a training: tensors by name and plain values, of each part from its owner.

Tensors and values are separate: tensors are written without pickle, values as JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypedDict

import torch
from torch import Tensor

from recsys_mtl import parallel

_RNG = re.compile(r"(rng\.rank-)(\d+)(\..+)")


class TrainingState(TypedDict):
    """The result of `Trainer.state_dict`.

    Attributes:
        tensors: `PART.NAME` -> tensor. They are live: the next step changes them.
        values: part -> JSON value.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class StateOwner:
    """An owner of state; the base class has none."""

    def tensors(self) -> dict[str, Tensor]:
        """Live tensors by name."""
        return {}

    def values(self) -> Any:
        """A JSON value."""
        return None

    def reserve(self, values: Any) -> None:
        """Make the tensors that a part with these values has, with any content."""

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Load a state, into the tensors that `reserve` made or the existing ones."""


class Rng(StateOwner):
    """Torch's global random numbers, on the CPU and on the training's accelerator.

    They are those of one process: names start with its rank. The order of rows and the random
    numbers of combiners depend on seed and step only.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, rank = device, parallel.rank()
        self._cpu, self._cuda = f"rank-{rank}.cpu", f"rank-{rank}.cuda"

    def tensors(self) -> dict[str, Tensor]:
        """(bytes,) uint8 each; copies, as torch gives no others."""
        states = {self._cpu: torch.get_rng_state()}
        if self._device.type == "cuda":
            states[self._cuda] = torch.cuda.get_rng_state(self._device)
        return states

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Set both generators."""
        torch.set_rng_state(tensors[self._cpu].cpu())
        if self._cuda in tensors:
            torch.cuda.set_rng_state(tensors[self._cuda].cpu(), self._device)


def with_all_rng(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state's tensors with the random numbers of every process; a collective."""
    every = dict(tensors)
    for name in filter(_RNG.fullmatch, tensors):
        for rank, of_rank in enumerate(parallel.gathered(tensors[name])):
            every[_RNG.sub(rf"\g<1>{rank}\3", name)] = of_rank
    return every


def with_own_rng(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state's tensors with the random numbers of this process only.

    Those of a process that the state does not know are seeded anew.
    """
    own = {name: tensor for name, tensor in tensors.items() if not _RNG.fullmatch(name)}
    for name, tensor in tensors.items():
        if (match := _RNG.fullmatch(name)) is None:
            continue
        renamed = f"{match[1]}{parallel.rank()}{match[3]}"
        if renamed in tensors:
            own[renamed] = tensors[renamed]
        elif match[2] == "0":
            own[renamed] = _seeded(tensor, renamed)
    return own


def _seeded(state: Tensor, name: str) -> Tensor:
    """The state of a new generator, other than one with this state."""
    text = state.cpu().numpy().tobytes() + name.encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1
    return torch.Generator("cuda" if name.endswith("cuda") else "cpu").manual_seed(seed).get_state()


def collect(parts: Mapping[str, StateOwner]) -> TrainingState:
    """The state of all parts."""
    tensors = {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.tensors().items()
    }
    return {"tensors": tensors, "values": {name: part.values() for name, part in parts.items()}}


def reserve(parts: Mapping[str, StateOwner], values: Mapping[str, Any]) -> dict[str, Tensor]:
    """The live tensors of parts with these values, to be filled.

    Raises:
        ValueError: the values of other parts.
    """
    _refuse("parts", dict.fromkeys(values, "a part"), dict.fromkeys(parts, "a part"))
    for name, part in parts.items():
        part.reserve(values[name])
    return collect(parts)["tensors"]


def restore(parts: Mapping[str, StateOwner], state: TrainingState) -> None:
    """Load a state into all parts.

    Raises:
        ValueError: the state of another training; existing tensors are unchanged.
    """
    tensors, values = state["tensors"], state["values"]
    _refuse("tensors", _kinds(tensors), _kinds(reserve(parts, values)))
    for name, part in parts.items():
        start = f"{name}."
        own = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        part.load(own, values[name])


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {name: f"{tuple(value.shape)} {value.dtype}" for name, value in tensors.items()}


def _refuse(what: str, given: Mapping[str, str], expected: Mapping[str, str]) -> None:
    names = sorted(n for n in given.keys() | expected.keys() if given.get(n) != expected.get(n))
    if names:
        name = names[0]
        raise ValueError(
            f"state: {len(names)} {what} differ from this training's; the first is {name}: "
            f"expected {expected.get(name, 'none')}, found {given.get(name, 'none')}"
        )
