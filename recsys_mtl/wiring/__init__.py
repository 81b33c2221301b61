"""From a config to objects: the only table of names.

Everything below this package takes plain values; everything above it asks here. `network` is apart
from `run` so that a served model does not import what only training needs.
"""
