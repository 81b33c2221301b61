"""recsys_mtl: trains multi-task recommenders and tests whether a transfer method helps."""
