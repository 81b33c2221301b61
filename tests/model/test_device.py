import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.model.device import autocast, check_precision, pick_device


def test_auto_is_what_torch_finds():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected
    assert pick_device("cpu").type == "cpu"


def test_cuda_without_a_gpu_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"training\.device: no CUDA device.*doctor"):
        pick_device("cuda")


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="bf16"):
        check_precision("fp16", torch.device("cpu"))
    check_precision("bf16", torch.device("cpu"))
    check_precision("fp16", torch.device("cuda"))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_run_in_the_requested_precision(precision, dtype):
    with autocast(precision, torch.device("cpu")):
        product = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
    assert product.dtype == dtype
