"""Synthetic customers with tasks whose relations and limits are known; see docs/synthetic.md."""

from data_synth.load import load_plan, presets
from data_synth.plan import Plan
from data_synth.truth import Truth
from data_synth.write import synthesize

__all__ = ["Plan", "Truth", "load_plan", "presets", "synthesize"]
