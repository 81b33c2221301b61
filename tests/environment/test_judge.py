from __future__ import annotations

import pytest

from recsys_mtl.environment.judge import Trouble, judge
from recsys_mtl.environment.requirement import Need, parse

OURS = [
    "torch<2.14,>=2.13",
    "polars<3,>=2.1",
    "pyarrow<26,>=22",
    "mlflow<4,>=3.17",
    "torchjd[cagrad]<0.19,>=0.18",
]
CUDA = ["torchrec<1.9,>=1.8", "fbgemm-gpu<1.9,>=1.8", "torchmetrics==1.0.3"]
THEIRS = {
    "torch 2.13.0": ["sympy>=1.13.3"],
    "mlflow 3.17.2": ["pyarrow<26,>=4.0.0", "Flask<4"],
    "torchjd 0.18.0": ["torch>=2.3.0"],
    "torchrec 1.8.0": ["fbgemm-gpu", "tensordict", "torchmetrics==1.0.3", "tqdm"],
}
GOOD: dict[str, str | None] = {
    "torch": "2.13.0+cpu",
    "torchrec": "1.8.0",
    "torchmetrics": "1.0.3",
    "pyarrow": "25.0.1",
    "mlflow": "3.17.2",
    "polars": "2.1.0",
    "torchjd": "0.18.0",
    "fbgemm-gpu": None,
    "fbgemm-gpu-cpu": "1.8.0",
    "sympy": "1.14.0",
    "flask": "3.1.0",
    "tensordict": "0.15.3",
    "tqdm": "4.67.0",
}
GPU = {"torch": "2.13.0+cu130", "fbgemm-gpu": "1.8.0", "fbgemm-gpu-cpu": None}


def needs(*absent: str) -> list[Need]:
    """The requirements where some packages are absent, which then have none."""
    all_needs = [*parse(OURS, "recsys-mtl 0.1.0"), *parse(CUDA, "recsys-mtl 0.1.0", optional=True)]
    for by, lines in THEIRS.items():
        if by.split()[0] not in absent:
            all_needs += parse(lines, by)
    return all_needs


def check(versions: dict[str, str | None], failures: dict[str, str] | None = None) -> list[Trouble]:
    absent = [name for name, version in versions.items() if version is None]
    return judge(needs(*absent), versions, failures or {})


def test_a_good_environment_has_no_troubles() -> None:
    assert check(GOOD) == []
    assert check(GOOD | GPU) == []


TORCH = 'pip install "torch>=2.13,<2.14"'
TORCHREC = 'pip install --no-deps "torchrec>=1.8,<1.9"'
FBGEMM_CPU = 'pip install --no-deps "fbgemm-gpu-cpu>=1.8,<1.9"'
FBGEMM_CUDA = 'pip install --no-deps "fbgemm-gpu>=1.8,<1.9"'
TABLE: list[tuple[dict[str, str | None], str, str]] = [
    ({"torch": "2.15.0"}, "torch 2.15.0 does not fit: recsys-mtl 0.1.0 needs >=2.13,<2.14", TORCH),
    ({"torch": "2.1.13"}, "torch 2.1.13 does not fit: recsys-mtl 0.1.0", TORCH),
    ({"torch": "2.2.0"}, "needs >=2.13,<2.14, torchjd 0.18.0 needs >=2.3.0", TORCH),
    ({"torch": None}, "torch is missing: recsys-mtl 0.1.0 needs >=2.13,<2.14", TORCH),
    ({"torchrec": "1.7.0"}, "torchrec 1.7.0 does not fit", TORCHREC),
    ({"fbgemm-gpu-cpu": "1.7.0"}, "fbgemm-gpu-cpu 1.7.0 does not fit", FBGEMM_CPU),
    (GPU | {"fbgemm-gpu": "1.9.0"}, "fbgemm-gpu 1.9.0 does not fit", FBGEMM_CUDA),
    (
        {"torchmetrics": "1.8.1"},
        "torchmetrics 1.8.1 does not fit: recsys-mtl 0.1.0 needs ==1.0.3, torchrec 1.8.0 needs ==",
        'pip install "torchmetrics==1.0.3"',
    ),
    (
        {"torchmetrics": None},
        "torchmetrics is missing: torchrec 1.8.0 needs ==1.0.3",
        'pip install "torchmetrics==1.0.3"',
    ),
    ({"tensordict": None}, "tensordict is missing: torchrec 1.8.0 needs it", "install tensordict"),
    (
        {"pyarrow": "26.0.0"},
        "pyarrow 26.0.0 does not fit: recsys-mtl 0.1.0 needs >=22,<26, mlflow 3.17.2 needs >=4.0.0",
        'pip install "pyarrow>=22,<26"',
    ),
    ({"mlflow": "2.22.0"}, "mlflow 2.22.0 does not fit", 'pip install "mlflow>=3.17,<4"'),
    ({"polars": None}, "polars is missing", 'pip install "polars>=2.1,<3"'),
    ({"torchjd": "0.17.0"}, "torchjd 0.17.0 does not fit", 'pip install "torchjd>=0.18,<0.19"'),
    (
        {"fbgemm-gpu": "1.8.0"},
        "fbgemm-gpu and fbgemm-gpu-cpu are the same module, installed twice",
        f"pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu && {FBGEMM_CPU}",
    ),
]


@pytest.mark.parametrize(("change", "what", "mend"), TABLE)
def test_a_mismatch_is_reported_with_its_fix(
    change: dict[str, str | None], what: str, mend: str
) -> None:
    (trouble,) = check(GOOD | change)
    assert what in trouble.what
    assert trouble.mend.endswith(mend)
    assert not trouble.optional


def test_the_fix_meets_every_requirement() -> None:
    strict = [*needs(), *parse(["polars<2.2"], "guest 1.0")]
    (trouble,) = judge(strict, GOOD | {"polars": "2.2.0"}, {})
    assert trouble.what == "polars 2.2.0 does not fit: guest 1.0 needs <2.2"
    assert trouble.mend == 'pip install "polars>=2.1,<2.2,<3"'


def test_imports_are_judged_without_any_need() -> None:
    (trouble,) = judge([], GOOD, {"torch": "broken"})
    assert trouble.mend == "pip install torch --force-reinstall"


def test_a_local_build_and_a_release_candidate_fit() -> None:
    assert check(GOOD | {"torch": "2.13.1+cu130", "polars": "2.2.0rc1"}) == []


def test_without_torchrec_all_is_optional() -> None:
    absent = dict.fromkeys(["torchrec", "fbgemm-gpu-cpu", "torchmetrics", "tensordict"])
    troubles = check(GOOD | absent)
    assert [trouble.what.split()[0] for trouble in troubles] == ["torchrec", "fbgemm-gpu-cpu"]
    assert [trouble.mend for trouble in troubles] == [TORCHREC, FBGEMM_CPU]
    assert all(trouble.optional for trouble in troubles)


def test_failing_imports() -> None:
    cuda_build = GOOD | {"fbgemm-gpu": "1.8.0", "fbgemm-gpu-cpu": None}
    failures = {"fbgemm_gpu": "OSError: libtorch_cuda.so", "torchrec": "the same"}
    assert check(cuda_build, failures) == [
        Trouble(
            "fbgemm does not import: OSError: libtorch_cuda.so",
            f"pip uninstall -y fbgemm-gpu && {FBGEMM_CPU}",
        )
    ]
    (trouble,) = check(GOOD, {"torchrec": "No module named 'tqdm'"})
    assert trouble.mend == f'{TORCHREC} "torchmetrics==1.0.3" tensordict tqdm'
    (trouble,) = check(GOOD, {"torch": "broken", "torchrec": "x"})
    assert trouble.mend == f"{TORCH} --force-reinstall"
    assert len(check(GOOD | {"torch": None}, {"torch": "No module named 'torch'"})) == 1
