"""One epoch by `recsys-mtl train` in one or several processes; prints rows/s as JSON.

Arguments: the Parquet file, how many processes, threads of each. Rows/s are those of the training,
without starting, reading and evaluation; `seconds` are those of the whole command.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ours

from recsys_mtl.config import dump_config


def main() -> None:
    """Train once."""
    path, processes, threads = Path(sys.argv[1]).resolve(), *sys.argv[2:]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        config, out = Path(folder) / "bench.yaml", Path(folder) / "run"
        config.write_text(dump_config(ours.config(path, "fp32", "memory")))
        command = [sys.executable, "-m", "recsys_mtl", "train", str(config), "--out", str(out)]
        command += ["--set", f"training.threads={threads}", "--set", "tracking.enabled=false"]
        command += ["--processes", processes] if int(processes) > 1 else []
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - begun
        speed = json.loads((out / "result.json").read_text())["training"]["rows_per_second"]
    print(json.dumps({"training_rows_per_second": speed, "seconds": seconds}))


if __name__ == "__main__":
    main()
