"""`python -m recsys_mtl` is `recsys-mtl`."""

from __future__ import annotations

import sys

from recsys_mtl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
