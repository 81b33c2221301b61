"""Separate random draws of a combiner, for code that can only use torch's global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_draws(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Global draws inside depend on the seed and the step alone; the state outside is unchanged.

    So there is no state to save, a resumed training draws the same, and processes that share the
    seed draw the same without a broadcast.

    Args:
        seed: of the run.
        step: of the training.
        device: where numbers are drawn, in addition to the CPU.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    # The CPU's generator uses 32 bits only: mix both numbers into them.
    mixed = random.Random(f"{seed} {step}").getrandbits(32)
    try:
        for generator in generators:
            generator.manual_seed(mixed)
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
