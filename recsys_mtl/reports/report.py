"""The result of a job, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recsys_mtl.reports.page import Page


@dataclass(frozen=True)
class Report:
    """A page for people, and the numbers on it (and more) for programs."""

    page: Page
    numbers: dict[str, Any]
