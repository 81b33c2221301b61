import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.training import StepResult
from recsys_mtl.training.skips import Skips


def test_skips_start_anew_after_a_good_batch():
    skips = Skips(2, ("a", "b"))
    zeros = torch.zeros(2)
    bad = StepResult(torch.tensor([0.0, torch.inf]), zeros, zeros, False)
    skips.update(bad)
    skips.update(StepResult(zeros, zeros, zeros, True))
    skips.update(bad)
    assert skips.total == 2
    with pytest.raises(UserError, match="loss of b"):
        skips.update(bad)


def test_skips_blame_the_gradient_where_every_loss_is_finite():
    skips = Skips(1, ("a",))
    with pytest.raises(UserError, match="diverged: the gradient is not finite, 1 batches"):
        skips.update(StepResult(*[torch.zeros(1)] * 3, False))


def test_skips_report_why_a_combiner_gave_no_gradient(caplog):
    skips = Skips(2, ("a",))
    skips.update(StepResult(*[torch.zeros(1)] * 3, False, problem="CAGrad: no weights in block 0"))
    assert "batch skipped: CAGrad: no weights in block 0" in caplog.text
