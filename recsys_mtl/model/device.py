"""The device and precision of a run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from recsys_mtl.errors import wrong

Precision = Literal["fp32", "bf16", "fp16"]
LOOPING = {"cpu"}
"""Kinds of device on which several small products are as fast as one batched product."""
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


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which matrix products run in `precision`; tables and losses are not in it."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])
