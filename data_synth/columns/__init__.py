"""Columns from views: numbers, categories, lists and demographics, as Arrow arrays."""

from data_synth.columns.categorical import categories, lists
from data_synth.columns.demographic import Demographics, demographics
from data_synth.columns.numeric import numbers

__all__ = ["Demographics", "categories", "demographics", "lists", "numbers"]
