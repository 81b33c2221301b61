"""Training from Python: without a command line, a file, a tracker or an optional engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import importlib.metadata as metadata
import sys

absent = "mlflow", "torchrec", "fbgemm_gpu", "torchjd", "typer", "matplotlib", "torch._dynamo"
for name in absent:
    sys.modules[name] = None  # an import of it is an ImportError
installed = metadata.distribution


def distribution(name):
    if name.replace("_", "-") == "recsys-mtl":
        raise metadata.PackageNotFoundError(name)  # a checkout that nobody installed
    return installed(name)


metadata.distribution = distribution

import polars as pl

from recsys_mtl.config import Config
from recsys_mtl.data.loader import MemoryLoader
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.wiring.trainer import build_trainer

rows = pl.DataFrame(
    {
        "age": [float(row % 50) for row in range(400)],
        "city": [("bern", "oslo", "rome")[row % 3] for row in range(400)],
        "click": [int(row % 50 > 25) for row in range(400)],
        "spend": [row % 50 / 10 for row in range(400)],
    }
)
config = Config.model_validate(
    {
        "name": "standalone",
        "data": {"path": "unused.parquet"},
        "features": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}},
        "tasks": {"click": {"kind": "binary"}, "spend": {"kind": "regression"}},
        "model": {"embedding": {"dim": 4, "backend": "plain"}},
        "adatt": {"mechanism": "loss", "warmup_epochs": 1, "freeze_epoch": 2},
        "combiner": {"name": "cagt"},
        "balancing": {"name": "uncertainty"},
        "training": {"recipe": "none", "epochs": 3, "batch_size": 64, "device": "cpu"},
    }
)
preprocessor = Preprocessor.fit([rows], config.features, config.tasks, weight=None, default_dim=4)
loaders = {
    name: MemoryLoader(preprocessor.encode(part), batch_size=64, shuffle=name == "train", seed=0)
    for name, part in (("train", rows[:300]), ("valid", rows[300:]))
}
result = build_trainer(config, preprocessor, loaders).fit()
print(result.stopped, len(result.epochs), result.epochs[-1].score < result.epochs[0].score)
"""


@pytest.mark.slow  # a fresh process
def test_training_needs_no_command_line_and_no_optional_engine(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["finished", "3", "True"]
    assert list(tmp_path.iterdir()) == []
