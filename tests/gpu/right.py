"""Is a step right? Each method's gradients and losses on the device beside those of the CPU."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import torch
from torch import Tensor

from recsys_mtl.gradients.combiners import COMBINERS, TORCHJD
from recsys_mtl.gradients.output_gradients import LOOPING as OF_GRADIENTS
from recsys_mtl.losses import BALANCERS
from recsys_mtl.model.device import LOOPING
from recsys_mtl.training.step import TrainingStep
from tests.gpu.machine import name_of, pick, row
from tests.gpu.steps import small_config, small_rows, small_step

ARCHITECTURES = ("ple", "mmoe", "shared_bottom", "single_task", "aitm", "stem", "home")
LATE = {"warmup_epochs": 0, "freeze_epoch": 3}
CASES: dict[str, dict[str, object]] = {
    **{f"architecture {n}": {"model": {"architecture": {"name": n}}} for n in ARCHITECTURES},
    "two levels": {"model": {"levels": 2}},
    "members": {"model": {"members": 3}},
    **{f"adaTT {n}": {"adatt": {"mechanism": n, **LATE}} for n in ("loss", "gradient")},
    "adaTT borrow": {"adatt": {"mechanism": "borrow", "warmup_epochs": 1, "freeze_epoch": 3}},
    **{f"combiner {n}": {"combiner": {"name": n, "diagnostics": 1}} for n in COMBINERS},
    **{f"balancing {n}": {"balancing": {"name": n}} for n in (*BALANCERS, "gradnorm")},
    **{f"tables {n}": {"training": {"tables": {"name": n}}} for n in ("sgd", "adagrad")},
    "table decay": {"training": {"tables": {"weight_decay": 0.5}}},
}
FROM_TORCHJD = {f"combiner {n}" for n in TORCHJD} | {
    f"balancing {n}" for n in ("dwa", "famo", "imtl_l", "stch")
}
HALVES = {"bf16": 3e-2, "fp16": 1e-2}


def taken(step: TrainingStep) -> tuple[Tensor, Tensor]:
    """All gradients of a first step, and the losses of it and of two more."""
    rows = [small_rows(number).to(step.device) for number in range(3)]
    first = step(rows[0], 0)
    gradients = [p.grad.flatten() for p in step.network.dense_parameters() if p.grad is not None]
    losses = [first.losses, *(step(rows[number], number).losses for number in (1, 2))]
    return torch.cat(gradients).cpu(), torch.stack(losses).cpu()


def difference(case: str, device: torch.device) -> float:
    """Largest difference to the CPU's, of the gradients over their length and of the losses."""
    config = small_config(**CASES[case])
    cpu = small_step(config, torch.device("cpu"))
    cpu.waits = True
    one, before = taken(cpu)
    kinds = (LOOPING, OF_GRADIENTS)
    for kind in kinds:
        kind.clear()  # `--device cpu` too takes the ways of a GPU
    try:
        other, after = taken(small_step(config, device))
    finally:
        for kind in kinds:
            kind.add("cpu")
    return max(float((one - other).norm() / one.norm()), float((before - after).abs().max()))


def halves(device: torch.device) -> int:
    """Half precision beside float32, on the device; how many are wrong."""
    wrong = 0
    for precision, most in HALVES.items():
        if precision == "fp16" and device.type == "cpu":
            row(precision, "skipped: on CUDA only")
            continue
        both = ("fp32", precision)
        steps = [small_step(small_config(training={"precision": p}), device) for p in both]
        exact, half = (step(small_rows(0).to(device)).losses for step in steps)
        gap = float(((exact - half).abs() / exact.abs().clamp_min(0.1)).max())
        wrong += not gap < most
        row(precision, f"{gap:.1e} of {most:.0e}", "" if gap < most else "WRONG")
    return wrong


def main() -> int:
    """How many methods differ."""
    device, failed, largest, right, skipped = pick(), 0, 0.0, 0, 0
    for case in CASES:
        if case in FROM_TORCHJD and find_spec("torchjd") is None:
            skipped += 1
            continue
        try:
            gap = difference(case, device)
        except ImportError as error:  # a method's own library
            skipped += 1
            row(case, f"skipped: {error}")
            continue
        except Exception as error:  # noqa: BLE001  the other methods are still asked
            row(case, "FAIL", type(error).__name__, str(error).splitlines()[0][:100])
            failed += 1
            continue
        if not gap < 2e-4:
            row(case, f"WRONG: {gap:.1e} from the CPU")
            failed += 1
        else:
            right, largest = right + 1, max(largest, gap)
    row("fp32", name_of(device), f"{right} methods, at most {largest:.0e} from the CPU")
    if skipped:
        row("skipped", f"{skipped} methods: torchjd, or what it needs, is not installed")
    return failed + halves(device)


if __name__ == "__main__":
    sys.exit(min(1, main()))
