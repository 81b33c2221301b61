from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recsys_mtl.lifecycle.same_task import difference_of_kind, difference_of_labels
from recsys_mtl.tasks.multiclass import MulticlassLabel
from recsys_mtl.tasks.retrieval import RetrievalLabel

Make = Callable[..., Any]
NAN = float("nan")


def test_a_task_that_is_gone_or_of_another_kind(make_tasks: Make) -> None:
    champion, challenger = make_tasks(a="binary", b="binary"), make_tasks(b="regression")
    assert difference_of_kind("a", champion, challenger) == "the challenger lacks it"
    reason = "the challenger's is regression, the champion's binary"
    assert difference_of_kind("b", champion, challenger) == reason
    assert difference_of_kind("b", champion, champion) == ""


@pytest.mark.parametrize(
    ("kind", "theirs", "ours", "same"),
    [
        ("binary", [1, 0, NAN], [1, 0, NAN], True),
        ("binary", [1, 0, NAN], [1, 1, NAN], False),
        ("binary", [1, 0, NAN], [1, 0, 0], False),
        ("regression", [1e3, -2.0, NAN], [1e3 * (1 + 1e-6), -2.0, NAN], True),
        ("regression", [1e3, -2.0, NAN], [1.01e3, -2.0, NAN], False),
        ("regression", [NAN, NAN, NAN], [NAN, NAN, NAN], True),
    ],
)
def test_labels(make_tasks: Make, kind: str, theirs: Any, ours: Any, same: bool) -> None:
    label = make_tasks(t=kind)["t"]
    why = difference_of_labels(label, label, np.array(theirs, float), np.array(ours, float))
    assert (why == "") == same


def test_classes_go_by_name() -> None:
    champion = MulticlassLabel("t", "t", classes=["a", "b"])
    challenger = MulticlassLabel("t", "t", classes=["new", "b", "a"])
    theirs = np.array([0.0, 1.0, NAN])
    assert difference_of_labels(champion, challenger, theirs, np.array([2.0, 1.0, NAN])) == ""
    assert difference_of_labels(champion, challenger, theirs, np.array([1.0, 2.0, NAN])) != ""


def test_items_go_by_name_where_both_know_them() -> None:
    champion = RetrievalLabel("t", "t", items=["x", "y"])
    challenger = RetrievalLabel("t", "t", items=["z", "y"])
    theirs = np.array([1.0, 2.0, 0.0])
    assert difference_of_labels(champion, challenger, theirs, np.array([0.0, 2.0, 1.0])) == ""
    assert difference_of_labels(champion, challenger, theirs, np.array([0.0, 1.0, 1.0])) != ""
