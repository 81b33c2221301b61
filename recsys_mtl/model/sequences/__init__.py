"""Encoders of sequences: the entries of each row to one vector, below the cut.

An encoder is a file here and one line in `ENCODERS`. It reads ragged entries, the rows of a batch
one after another, without padding.
"""

from recsys_mtl.model.sequences.encoders import ENCODERS, SequenceEncoders

__all__ = ["ENCODERS", "SequenceEncoders"]
