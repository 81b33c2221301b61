"""Steps and short trainings with adaTT on the rows of `tests/training`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from recsys_mtl.columns.spec import DataSpec
from recsys_mtl.config.model import ModelConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.training import Trainer, TrainingResult, Validation
from recsys_mtl.training.step import TrainingStep
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_plan, build_step

CPU = torch.device("cpu")


@pytest.fixture
def step_of(config_of: Callable[..., Config], spec: DataSpec) -> Callable[..., TrainingStep]:
    """A step with the given keys of `adatt` and of `model`, from the same initial weights."""

    def make(
        adatt: dict[str, Any] | None = None, *, model: dict[str, Any] | None = None, **sections: Any
    ) -> TrainingStep:
        config = config_of(adatt=adatt or {}, **sections)
        changed = ModelConfig.model_validate(
            config.model.model_dump(exclude_unset=True) | (model or {})
        )
        config = config.model_copy(update={"model": changed})
        torch.manual_seed(3)
        return build_step(config, build_network(config, spec), CPU)

    return make


@pytest.fixture
def trained(
    config_of: Callable[..., Config], step_of: Callable[..., TrainingStep], rows: Batch
) -> Callable[..., tuple[TrainingStep, TrainingResult]]:
    """Four epochs of three batches; by default one of warm-up, and frozen in the last."""

    def make(
        adatt: dict[str, Any] | None = None, *, batch: Batch = rows, **rest: Any
    ) -> tuple[TrainingStep, TrainingResult]:
        phases = {"warmup_epochs": 1, "freeze_epoch": 3}
        training = {"epochs": 4, "early_stopping": {"patience": None}}
        step = step_of(phases | adatt if adatt else None, training=training, **rest)
        torch.manual_seed(5)  # of the dropout
        size = -(-batch.num_rows // 3)
        trainer = Trainer(
            step,
            MemoryLoader(batch, batch_size=size, shuffle=True, seed=0),
            lambda epoch: Validation(-float(epoch)),  # the last epoch is the best
            build_plan(config_of(training=training)),
        )
        return step, trainer.fit()

    return make
