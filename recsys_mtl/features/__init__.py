"""Kinds of features, one file a kind.

A kind is a section of the config and a `Feature`: how a raw column is fitted and encoded, where a
batch holds it, and what network, baselines, serving, drift and the search for leaks make of it.
`registry.register` makes a kind known; nothing else has to change. Bases: `DenseFeature` for
columns of numbers, `TableFeature` for rows of embedding tables, `InputModule` for layers between a
batch and the experts.
"""
