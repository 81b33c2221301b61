"""Encoders: one kind of feature or label a file, fitted on a stream of training rows.

Each has `update(chunk)` for the fit, `finish()`, `encode(chunk)` and, an exact JSON form:
`to_dict` and `from_dict`.
"""

from recsys_mtl.data.encoders.categorical import CategoricalFeature
from recsys_mtl.data.encoders.categorical_list import CategoricalListFeature
from recsys_mtl.data.encoders.column import ColumnEncoder
from recsys_mtl.data.encoders.factory import feature_encoder, label_encoder
from recsys_mtl.data.encoders.label import Label
from recsys_mtl.data.encoders.numeric import NumericFeature
from recsys_mtl.data.encoders.rows import ROW, Rows
from recsys_mtl.data.encoders.weight import Weight

__all__ = [
    "ROW",
    "CategoricalFeature",
    "CategoricalListFeature",
    "ColumnEncoder",
    "Label",
    "NumericFeature",
    "Rows",
    "Weight",
    "feature_encoder",
    "label_encoder",
]
