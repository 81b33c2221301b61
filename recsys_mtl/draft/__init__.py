"""Drafts a run's YAML from a table: what each column is likely to be, and why."""

from recsys_mtl.draft.draft import Draft, draft

__all__ = ["Draft", "draft"]
