"""Vocabularies in memory and in files: time of the fit, memory of a process, time of a look-up.

    python -m tests.bench.vocabularies 1000000 5000000

Each number is of a process of its own. Every id occurs once or more in twice as many rows; look-ups
are of 65,536 random ids, of which 5 % are unknown.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from recsys_mtl.columns.stored_vocabulary import StoredVocabulary
from recsys_mtl.columns.vocabulary import Vocabulary

_CHUNK, _KEYS = 131_072, 65_536


def main(words: list[str]) -> None:
    """Measure sizes; with more words, one of them in this process."""
    if words[1:] and not words[1].isdigit():
        size, kind, storage, folder = words
        if storage == "fit":
            _fit(int(size), kind, Path(folder))
        else:
            _load(int(size), kind, storage, Path(folder))
        return
    for size in words:
        for kind in ("integers", "texts"):
            with tempfile.TemporaryDirectory() as folder:
                for step in ("fit", "file", "memory"):
                    command = [sys.executable, "-m", "tests.bench.vocabularies", size, kind, step]
                    subprocess.run([*command, folder], check=True)


def _ids(numbers: np.ndarray, kind: str) -> pl.Series:
    ids = pl.Series(numbers * 7 + 10**9)
    return ids if kind == "integers" else "user-" + ids.cast(pl.String)


def _fit(size: int, kind: str, folder: Path) -> None:
    coder, rng, begun = StoredVocabulary([]), np.random.default_rng(0), time.perf_counter()
    for start in range(0, size, _CHUNK):
        coder.update(_ids(np.arange(start, min(size, start + _CHUNK)), kind))
        coder.update(_ids(rng.integers(0, size, _CHUNK), kind))
    coder.finish()
    seconds = time.perf_counter() - begun
    for name, path in coder.files.items():
        shutil.copyfile(path, folder / name)
    (folder / "state.json").write_text(json.dumps(coder.to_dict()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    disk = sum(path.stat().st_size for path in coder.files.values()) / 2**20
    print(
        f"{size:,} {kind}: fit of {2 * size:,} rows {seconds:.1f} s, peak {peak:.0f} MiB, "
        f"files {disk:.0f} MiB",
        flush=True,
    )


def _load(size: int, kind: str, storage: str, folder: Path) -> None:
    Vocabulary([], values=["1", "a"]).codes(_ids(np.arange(9), kind))
    before = _anonymous_mb()
    stored = StoredVocabulary.from_dict(json.loads((folder / "state.json").read_text()))
    stored.open(folder)
    coder: StoredVocabulary | Vocabulary = stored
    if storage == "memory":
        coder = Vocabulary([], values=stored.texts().to_list())
        del stored
    rng, times = np.random.default_rng(1), []
    for _ in range(9):
        values = _ids(rng.integers(0, int(1.05 * size), _KEYS), kind)
        begun = time.perf_counter()
        coder.codes(values)
        times.append(time.perf_counter() - begun)
    print(
        f"{size:,} {kind} in {storage}: +{_anonymous_mb() - before:.0f} MiB, {_KEYS:,} keys first "
        f"{1e3 * times[0]:.0f} ms, then {1e3 * float(np.median(times[1:])):.0f} ms",
        flush=True,
    )


def _anonymous_mb() -> float:
    """Memory of this process alone, in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous")) / 1024


if __name__ == "__main__":
    main(sys.argv[1:])
