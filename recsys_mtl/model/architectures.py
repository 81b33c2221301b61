"""The architectures by name."""

from __future__ import annotations

from recsys_mtl.model.aitm import AITM
from recsys_mtl.model.architecture import Architecture
from recsys_mtl.model.home import HoME
from recsys_mtl.model.pepnet import PEPNet
from recsys_mtl.model.ple import PLE, MMoE, SharedBottom, SingleTask
from recsys_mtl.model.stem import STEM

ARCHITECTURES: dict[str, type[Architecture]] = {
    "ple": PLE,
    "mmoe": MMoE,
    "shared_bottom": SharedBottom,
    "single_task": SingleTask,
    "aitm": AITM,
    "pepnet": PEPNet,
    "home": HoME,
    "stem": STEM,
}


def architecture_of(name: str) -> type[Architecture]:
    """The class of that name."""
    return ARCHITECTURES[name]
