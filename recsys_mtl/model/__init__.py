"""The network: embedding tables, experts and gates (PLE and its relatives), towers."""

from __future__ import annotations

from recsys_mtl.model.architecture import Architecture, ArchitectureOutput, ArchitectureSpec
from recsys_mtl.model.architectures import ARCHITECTURES
from recsys_mtl.model.cgc import CGC, CGCOutput, CGCSpec
from recsys_mtl.model.cut import Cut
from recsys_mtl.model.embeddings import Embeddings
from recsys_mtl.model.embeddings_backend import make_embeddings
from recsys_mtl.model.experts import ExpertBank, ExpertGroup
from recsys_mtl.model.gates import GateStatistics, GateUse
from recsys_mtl.model.grouped import GroupedLayerNorm, GroupedLinear, GroupedMLP, HiddenLayers
from recsys_mtl.model.network import MultiTaskNetwork, NetworkSpec, Outputs
from recsys_mtl.model.ple import PLE
from recsys_mtl.model.towers import Towers, tower_waves

__all__ = [
    "ARCHITECTURES",
    "CGC",
    "PLE",
    "Architecture",
    "ArchitectureOutput",
    "ArchitectureSpec",
    "CGCOutput",
    "CGCSpec",
    "Cut",
    "Embeddings",
    "ExpertBank",
    "ExpertGroup",
    "GateStatistics",
    "GateUse",
    "GroupedLayerNorm",
    "GroupedLinear",
    "GroupedMLP",
    "HiddenLayers",
    "MultiTaskNetwork",
    "NetworkSpec",
    "Outputs",
    "Towers",
    "make_embeddings",
    "tower_waves",
]
