"""Generated customers with several labels that share a hidden state; for the demo and for tests."""

from data_synth.generate import rows, write

__all__ = ["rows", "write"]
