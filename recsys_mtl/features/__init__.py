"""Kinds of features, one file a kind."""
