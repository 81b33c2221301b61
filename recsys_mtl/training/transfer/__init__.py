"""adaTT in the training: its observations of a step, and its mechanisms."""

from recsys_mtl.training.transfer.borrow import Borrow, BorrowSettings
from recsys_mtl.training.transfer.gradient import GradientTransfer
from recsys_mtl.training.transfer.loss import LossTransfer
from recsys_mtl.training.transfer.probe import Probe
from recsys_mtl.training.transfer.transfer import StepView, Transfer

__all__ = [
    "Borrow",
    "BorrowSettings",
    "GradientTransfer",
    "LossTransfer",
    "Probe",
    "StepView",
    "Transfer",
]
