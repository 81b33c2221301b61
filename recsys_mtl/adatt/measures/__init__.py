"""Ways to measure how much tasks agree; each one file and one name in `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable

from recsys_mtl.adatt.measures.averaged_gradient import AveragedGradient
from recsys_mtl.adatt.measures.gradient_cosine import GradientCosine, Scope
from recsys_mtl.adatt.measures.logit_correlation import LogitCorrelation
from recsys_mtl.adatt.measures.measure import Measure, Shapes
from recsys_mtl.adatt.measures.observation import Observation

MEASURES: dict[str, Callable[..., Measure]] = {
    "gradient_cosine": GradientCosine,
    "logit_correlation": LogitCorrelation,
    "averaged_gradient": AveragedGradient,
}


def make_measure(
    name: str,
    shapes: Shapes,
    *,
    decay: float = 0.9,
    debias: bool | None = None,
    scope: Scope = "all",
) -> Measure:
    """The measure of a name.

    Args:
        name: a key of `MEASURES`.
        shapes: how large its state is.
        decay: α of the moving average.
        debias: None is the measure's own choice: False for gradient_cosine, as published, and
            True for the others.
        scope: `expert`, one affinity a shared expert, is for gradient_cosine only.

    Raises:
        ValueError: an unknown name, a scope that the measure does not have, or shapes too few.
    """
    if name not in MEASURES:
        raise ValueError(f"measure: expected one of {', '.join(MEASURES)}; found {name}")
    options: dict[str, object] = {"decay": decay}
    if debias is not None:
        options["debias"] = debias
    if name == "gradient_cosine":
        options["scope"] = scope
    elif scope != "all":
        raise ValueError(f"scope: expected all, as {name} has no other; found {scope}")
    return MEASURES[name](shapes, **options)


__all__ = [
    "MEASURES",
    "AveragedGradient",
    "GradientCosine",
    "LogitCorrelation",
    "Measure",
    "Observation",
    "Scope",
    "Shapes",
    "make_measure",
]
