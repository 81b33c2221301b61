import pytest
import torch

from recsys_mtl.errors import UserError
from recsys_mtl.model import device
from recsys_mtl.model.device import (
    autocast,
    check_compile,
    check_precision,
    pick_device,
    warn_of_slow_precision,
)


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


def test_graphs_are_of_cuda():
    check_compile("graph", torch.device("cuda"))
    check_compile("on", torch.device("cpu"))
    with pytest.raises(UserError, match=r"training\.compile: graph is of CUDA"):
        check_compile("graph", torch.device("cpu"))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_products_run_in_the_requested_precision(precision, dtype):
    with autocast(precision, torch.device("cpu")):
        product = torch.nn.functional.linear(torch.ones(2, 3), torch.ones(4, 3))
    assert product.dtype == dtype


@pytest.mark.parametrize(("slowdown", "warnings"), [(0.4, 0), (10.3, 1)])
def test_slow_bf16_is_said_once(slowdown, warnings, monkeypatch, caplog):
    monkeypatch.setattr(device, "slowdown_in_bf16", lambda: slowdown)
    warn_of_slow_precision.cache_clear()
    for precision in ("bf16", "bf16", "fp32"):
        warn_of_slow_precision(precision, torch.device("cpu"))
    assert len(caplog.records) == warnings
    assert all("10.3 times as long" in record.message for record in caplog.records)
