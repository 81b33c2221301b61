"""Exit codes."""

from __future__ import annotations

DONE = 0
UNHEALTHY = 1
WRONG_INPUT = 2
REJECTED = 3
LOST = 75
"""Of one of several processes of `--processes`, when another one has ended."""
INTERRUPTED = 130
TERMINATED = 128 + 15
