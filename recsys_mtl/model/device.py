"""The device and precision of a run."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Literal

import torch

from recsys_mtl.errors import wrong

Precision = Literal["fp32", "bf16", "fp16"]
LOOPING = {"cpu"}
"""Kinds of device on which several small products are as fast as one batched product."""
_log = logging.getLogger(__name__)
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device of that name; `auto` is CUDA if torch has it.

    Raises:
        UserError: CUDA is requested and not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise wrong(
            "no CUDA device",
            where="training.device",
            expected="a CUDA build of torch and a visible GPU",
            found=f"torch {torch.__version__} without one",
            fix="use `auto` or `cpu`, or run `recsys-mtl doctor`",
        )
    return torch.device(name)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that the device does not train in.

    Raises:
        UserError: fp16 on a CPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise wrong(
            "fp16 trains on CUDA only",
            where="training.precision",
            expected="fp32 or bf16 on a CPU",
            found="fp16",
            fix="set training.precision=bf16",
        )


def check_compile(compiled: str, device: torch.device) -> None:
    """Refuse CUDA graphs elsewhere.

    Raises:
        UserError: they are asked for.
    """
    if compiled == "graph" and device.type != "cuda":
        raise wrong(
            "graph is of CUDA",
            where="training.compile",
            expected="on or off",
            found=f"graph on device {device.type}",
            fix="set training.compile=off, or train on a GPU",
        )


@cache
def slowdown_in_bf16() -> float:
    """Time of a matrix product in bf16 on this CPU, relative to float32; measured once, in ms."""
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        a = torch.ones(512, 256, dtype=dtype)
        turns = []
        for _ in range(4):
            begun = time.perf_counter()
            torch.mm(a, a.T)
            turns.append(time.perf_counter() - begun)
        seconds.append(min(turns))
    return seconds[1] / seconds[0]


@cache
def warn_of_slow_precision(precision: Precision, device: torch.device) -> None:
    """Warn, once, where bf16 is slower than float32 on a CPU."""
    if precision != "bf16" or device.type != "cpu":
        return
    if (slowdown := slowdown_in_bf16()) > 1.0:
        _log.warning(
            "training.precision bf16 is slower than fp32 on this CPU: a matrix product takes "
            "%.1f times as long; use fp32",
            slowdown,
        )


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which matrix products run in `precision`; tables and losses are not in it."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])
