"""Exit codes."""

from __future__ import annotations

DONE = 0
UNHEALTHY = 1
WRONG_INPUT = 2
REJECTED = 3
INTERRUPTED = 130
TERMINATED = 128 + 15
