"""Kinds of features, one file a kind.

A kind is a section of the config and a `Feature`: how a raw column is fitted and encoded, where a
batch holds it, and how the network, baselines, serving, drift and the leakage check use it.
`registry.register` adds a kind; nothing else changes. Bases: `DenseFeature` for
columns of numbers, `TableFeature` for rows of embedding tables, `InputModule` for layers between a
batch and the experts.
"""
