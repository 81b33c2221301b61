from __future__ import annotations

import pytest

from recsys_mtl.config.task_facts import larger_is_better, task_sections
from recsys_mtl.errors import UserError
from recsys_mtl.tasks import KINDS


def test_every_kind_has_its_section() -> None:
    assert task_sections() == {name: kind.section for name, kind in KINDS.items()}


def test_which_way_is_better() -> None:
    assert larger_is_better("auc")
    assert larger_is_better("recall_at_20")
    assert not larger_is_better("rmse")
    with pytest.raises(UserError, match="not a metric that can be optimised"):
        larger_is_better("calibration_ratio")
    with pytest.raises(UserError, match="did you mean 'log_loss'"):
        larger_is_better("logloss")
