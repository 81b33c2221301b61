"""`recsys-mtl demo` from a checkout; `make demo` makes the environment first.

python pipelines/demo.py
"""

from __future__ import annotations

import sys

from recsys_mtl.cli.demo import demo
from recsys_mtl.cli.script import run_script

if __name__ == "__main__":
    sys.exit(run_script(demo))
