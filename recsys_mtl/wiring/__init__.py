"""From a config to objects: the only table of names.

Packages below this one take plain values; packages above it get objects here. `network` is separate
from `run`: a served model does not import what only training needs.
"""
