"""What is known of the kinds of tasks without importing what computes it: for a quick start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.errors import did_you_mean, wrong


def task_sections() -> Mapping[str, type[TaskConfig]]:
    """The section of every registered kind, which names its metrics, by name."""
    return cast(Mapping[str, type[TaskConfig]], TaskConfig.members)


def larger_is_better(metric: str) -> bool:
    """Whether a larger value is better; also of `recall_at_5`.

    Raises:
        UserError: there is no such metric, or neither way is better.
    """
    sections = task_sections().values()
    known = [spec for section in sections for spec in (*section.metrics, *section.of_lists)]
    way = next((spec.larger_is_better for spec in known if spec.is_of(metric)), None)
    if way is None:
        names = dict.fromkeys(s.name for s in known if s.larger_is_better is not None)
        fix = did_you_mean(metric, names)
        raise wrong("not a metric that can be optimised", found=metric, fix=fix)
    return way
