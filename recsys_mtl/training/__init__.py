"""Training: the step, the trainer (sole owner of time and state), evaluation.

    trainer = Trainer(step, loader, validate, plan)
    result = trainer.fit()

needs neither files nor a command line; `recsys_mtl.wiring` builds the parts from a config.
"""

from recsys_mtl.training.history import Epoch, Validation
from recsys_mtl.training.state import TrainingState
from recsys_mtl.training.step import StepResult, TrainingStep
from recsys_mtl.training.trainer import Trainer, TrainingPlan, TrainingResult

__all__ = [
    "Epoch",
    "StepResult",
    "Trainer",
    "TrainingPlan",
    "TrainingResult",
    "TrainingState",
    "TrainingStep",
    "Validation",
]
