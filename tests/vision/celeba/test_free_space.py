from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.files import TEMPORARY, atomic_file
from recsys_mtl.vision.celeba.cache import DecodePlan
from recsys_mtl.vision.celeba.decode import ImageGeometry
from recsys_mtl.vision.celeba.load import prepare_cache

Usage = namedtuple("Usage", "total used free")


def plan_of(folder: Path, name: str = "part", count: int = 1000) -> DecodePlan:
    names = tuple(f"{number}.jpg" for number in range(count))
    array = folder / "cache" / f"{name}.npy"
    return DecodePlan("train", folder, names, ImageGeometry(100, None), array)


def prepare(*plans: DecodePlan) -> None:
    prepare_cache(plans[0].array.parent, plans)


def test_a_folder_is_made(tmp_path: Path) -> None:
    prepare(plan_of(tmp_path / "a"))
    assert list((tmp_path / "a/cache").iterdir()) == []


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write the decoded images there.*as the cache"):
        prepare(plan_of(tmp_path))


def test_the_arrays_of_all_plans_must_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [plan_of(tmp_path), plan_of(tmp_path, "other", 2000)]  # 90 MB
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 0, 80 << 20))
    prepare(plans[0])
    prepare(plans[1])
    with pytest.raises(
        UserError, match=r"no free space .*expected 0\.10 GiB free; found 0\.08 GiB"
    ):
        prepare(*plans)


def test_what_a_killed_run_left_is_deleted(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder = tmp_path / "cache"
    with atomic_file(folder / "whole") as temporary:
        temporary.touch()
        own = temporary.name.rpartition(TEMPORARY)[2]
    of_killed = own.replace(f"{os.getpid()}-", f"{ended.pid}-")
    gone, other, running, odd = (
        folder / f"{name}{TEMPORARY}{process}"
        for name, process in (
            ("part.npy", of_killed),
            ("more.npy", of_killed),
            ("part.json", own),
            ("part.npy", "x"),
        )
    )
    kept = {other, running, odd, folder / "part.npy", folder / "whole"}
    for path in (gone, *kept):
        path.touch()
    prepare(plan_of(tmp_path))
    assert set(folder.iterdir()) == kept
