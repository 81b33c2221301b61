"""The result of a job, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recsys_mtl.reports.page import Page


@dataclass(frozen=True)
class Report:
    """A page for people, and the numbers on it (and more) for programs.

    `html` is what the page's HTML file holds; else the page itself.
    """

    page: Page
    numbers: dict[str, Any]
    html: str = ""
