from __future__ import annotations

from hypothesis import settings

# The same examples on every run; no time limit, as machines and their load differ.
settings.register_profile("seeded", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("seeded")
