from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from recsys_mtl.checkpoints import Checkpoints, DamagedError
from recsys_mtl.errors import UserError

STORAGE = torch.arange(12.0)
TENSORS = {
    "network.a.weight": STORAGE[:6].reshape(2, 3),  # views of one storage, as fused tables are
    "network.b.weight": STORAGE[6:].reshape(3, 2).T,
    "optimizer.a.step": torch.tensor(3.0),
    "rng.rank-0.cpu": torch.arange(5, dtype=torch.uint8),
    "running.sums": torch.tensor([0.1, 1e-300], dtype=torch.float64),
    "half": torch.tensor([0.5], dtype=torch.bfloat16),
    "empty": torch.zeros(0, 4),
}
FILES = {"preprocessor.json": b"{}", "example.parquet": b"rows"}


def values(epochs: int = 1, best: int = 0, **run: Any) -> dict[str, Any]:
    history = [{"score": 0.1 + 0.2, "loss": float("inf")}] * epochs
    return {"training": {"best": {"epoch": best}, "history": history}, "run": run}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path)


def write(checkpoints: Checkpoints, step: int, **facts: Any) -> Path:
    return checkpoints.write(step, TENSORS, values(**facts), FILES)


def test_a_checkpoint_comes_back_as_it_was(checkpoints: Checkpoints) -> None:
    path = write(checkpoints, 7, name="ä")
    read = checkpoints.read(7)
    assert path.name == "step-00000007"
    assert read.state["values"] == values()["training"]
    assert read.run == {"name": "ä"}
    assert read.files == FILES
    assert read.state["tensors"].keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(read.state["tensors"][name], tensor), name
        assert read.state["tensors"][name].dtype == tensor.dtype


def test_large_states_are_several_files(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_mtl.checkpoints.folder._GROUP_BYTES", 30)
    path = write(checkpoints, 1)
    assert len(list(path.glob("tensors-*.safetensors"))) == 3
    assert checkpoints.read(1).state["tensors"].keys() == TENSORS.keys()


NAMES = ("tensors-00001.safetensors", "state.json", "preprocessor.json", "example.parquet")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "missing"])
def test_damage_is_detected(checkpoints: Checkpoints, name: str, damage: str) -> None:
    path = write(checkpoints, 1) / name
    content = path.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 9)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        path.write_bytes(
            {"flipped": bytes(flipped), "truncated": content[:position]}.get(damage, b"")
        )
        if damage == "missing":
            path.unlink()
        with pytest.raises(DamagedError, match=r"changed|missing|JSON|cannot be read"):
            checkpoints.read(1)


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"files": 3, "sha256": ""}'])
def test_a_state_of_something_else_is_damaged(checkpoints: Checkpoints, content: str) -> None:
    (write(checkpoints, 1) / "state.json").write_text(content)
    with pytest.raises(DamagedError):
        checkpoints.read(1)


def test_another_format_is_named(checkpoints: Checkpoints) -> None:
    path = write(checkpoints, 1) / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(
        UserError, match=r"step-00000001: a checkpoint of another version.* found 2"
    ):
        checkpoints.read(1)


def test_a_failed_write_leaves_nothing(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = write(checkpoints, 1)

    def full(path: Path, tensors: dict[str, Tensor]) -> None:
        path.write_bytes(b"half")
        raise OSError("no space")

    monkeypatch.setattr("recsys_mtl.checkpoints.folder.save_tensors", full)
    for step in (1, 2):
        with pytest.raises(OSError, match="no space"):
            write(checkpoints, step)
        assert list(checkpoints.folder.iterdir()) == [before]
    assert checkpoints.read(1)


def test_one_of_the_same_step_is_replaced(checkpoints: Checkpoints) -> None:
    write(checkpoints, 1, epochs=0)
    write(checkpoints, 1, epochs=1)
    assert len(checkpoints.read(1).state["values"]["history"]) == 1
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_a_kill_while_the_replaced_one_is_deleted_leaves_the_new_one(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(checkpoints, 1, epochs=0)
    rmtree = shutil.rmtree

    def killed(path: Path, **how: Any) -> None:
        if path.name.endswith(".old") and path.exists():
            raise KeyboardInterrupt
        rmtree(path, **how)

    monkeypatch.setattr("recsys_mtl.checkpoints.folder.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        write(checkpoints, 1, epochs=1)
    monkeypatch.undo()
    checkpoints.remove_temporary()
    assert len(checkpoints.read(1).state["values"]["history"]) == 1
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def test_only_checkpoints_are_deleted(checkpoints: Checkpoints) -> None:
    for step in (1, 22, 333):
        write(checkpoints, step)
    (checkpoints.folder / ".tmp-step-00000444").mkdir()
    (checkpoints.folder / ".tmp-step-00000022.old").mkdir()
    mine = checkpoints.folder / "step-mine"
    mine.mkdir()
    assert list(checkpoints.steps()) == [1, 22, 333]
    checkpoints.remove_temporary()
    checkpoints.remove([1])
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "step-00000022",
        "step-00000333",
        "step-mine",
    ]
    checkpoints.remove()
    assert list(checkpoints.folder.iterdir()) == [mine]
    mine.rmdir()
    checkpoints.remove()
    assert not checkpoints.folder.exists()


def test_the_best_is_the_first_after_its_epoch(checkpoints: Checkpoints) -> None:
    assert checkpoints.best() is None
    for step, epochs, best in ((1, 0, 0), (2, 1, 0), (3, 2, 1), (4, 2, 1), (5, 3, 1)):
        write(checkpoints, step, epochs=epochs, best=best)
    assert checkpoints.best() == 3


@pytest.mark.slow  # imports
@pytest.mark.filterwarnings("ignore:.*torch.distributed is disabled")
def test_torchs_distributed_reader_reads_it(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch.distributed.checkpoint as dcp

    monkeypatch.setattr("recsys_mtl.checkpoints.folder._GROUP_BYTES", 30)
    path = write(checkpoints, 1)
    live: dict[str, Any] = {name: torch.zeros_like(value) for name, value in TENSORS.items()}
    dcp.load(live, storage_reader=dcp.HuggingFaceStorageReader(str(path)), no_dist=True)
    for name, tensor in TENSORS.items():
        assert torch.equal(live[name], tensor), name
