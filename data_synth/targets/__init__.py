"""Kinds of labels, one file a kind: its section in a plan, and its target."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_synth.targets.base import Target
from data_synth.targets.binary import BinaryTarget, BinaryTask
from data_synth.targets.choice import ChoiceTarget
from data_synth.targets.complement import Complement
from data_synth.targets.multiclass import ClassTarget, MulticlassTask
from data_synth.targets.regression import RegressionTarget, RegressionTask
from data_synth.targets.retrieval import ItemTarget, RetrievalTask

Task = Annotated[
    BinaryTask | Complement | MulticlassTask | RegressionTask | RetrievalTask,
    Field(discriminator="kind"),
]
TARGETS: dict[str, type[Target]] = {
    target.kind: target for target in (BinaryTarget, ClassTarget, ItemTarget, RegressionTarget)
}
"""Targets by the trainer's name of their kind."""

__all__ = [
    "TARGETS",
    "BinaryTarget",
    "BinaryTask",
    "ChoiceTarget",
    "ClassTarget",
    "Complement",
    "ItemTarget",
    "MulticlassTask",
    "RegressionTarget",
    "RegressionTask",
    "RetrievalTask",
    "Target",
    "Task",
]
