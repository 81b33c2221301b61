"""What a step asks of a device: the operations it launches, and whether it waits for their result.

A step runs on PyTorch's `meta` device, where tensors have shapes and no values, and where the
network takes the same ways as on a GPU. To read a value there is an error, whatever reads it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "nonzero_static", "masked_select"),
    *("unique_dim", "unique_consecutive", "_unique", "_unique2", "repeat_interleave.Tensor"),
}
_NO_KERNEL = {
    *("detach", "alias", "lift_fresh", "squeeze_", "_unsafe_view", "promote_types"),
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_record_function_enter_new", "_record_function_exit"),
}


class Launches(TorchDispatchMode):
    """Counts operations below autograd without views and allocations; refuses those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if name in _WAITING:
            raise AssertionError(f"{function} waits for the device")
        result = function(*args, **(kwargs or {}))
        if name in ("_to_copy", "copy_"):
            given = next((a for a in reversed(args) if isinstance(a, Tensor)), result)
            assert given.device == result.device, f"{function}: {given.device} to {result.device}"
        views = (r.alias_info for r in function._schema.returns)
        if name not in _NO_KERNEL and not any(v is not None and not v.is_write for v in views):
            self.counts[name] += 1
        return result


@pytest.fixture
def meta(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """The device, with what torch does not have there: autocast and the list of fused kernels."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *args: False)
    for module, kind in (("optim.optimizer", "fused"), ("utils._foreach_utils", "foreach")):
        name = f"_get_{kind}_kernels_supported_devices"
        monkeypatch.setattr(sys.modules[f"torch.{module}"], name, lambda: ["meta"])
    return torch.device("meta")


def launches(step: Callable[[int], Any]) -> Counter[str]:
    """Of the third step: the first ones make states of optimizers."""
    step(0), step(1)
    with Launches() as counted:
        step(2)
    return counted.counts
