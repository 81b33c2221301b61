"""Kinds of labels, one file a kind: its section in a plan, and its target."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data_synth.targets.base import Target
from data_synth.targets.binary import Binary, BinaryTarget
from data_synth.targets.choice import ChoiceTarget
from data_synth.targets.complement import Complement
from data_synth.targets.multiclass import ClassTarget, Multiclass
from data_synth.targets.regression import Regression, RegressionTarget
from data_synth.targets.retrieval import ItemTarget, Retrieval

Task = Annotated[
    Binary | Complement | Multiclass | Regression | Retrieval, Field(discriminator="kind")
]
TARGETS: dict[str, type[Target]] = {
    target.kind: target for target in (BinaryTarget, ClassTarget, ItemTarget, RegressionTarget)
}
"""Targets by the trainer's name of their kind."""

__all__ = [
    "TARGETS",
    "Binary",
    "BinaryTarget",
    "ChoiceTarget",
    "ClassTarget",
    "Complement",
    "ItemTarget",
    "Multiclass",
    "Regression",
    "RegressionTarget",
    "Retrieval",
    "Target",
    "Task",
]
