"""Networks that turn images into features, and their weights from a file."""

from __future__ import annotations

from recsys_mtl.vision.backbones.base import Backbone, freeze_stem
from recsys_mtl.vision.backbones.load import load_weights
from recsys_mtl.vision.backbones.resnet import ResNet18
from recsys_mtl.vision.backbones.small_cnn import SmallCNN

__all__ = ["Backbone", "ResNet18", "SmallCNN", "freeze_stem", "load_weights"]
