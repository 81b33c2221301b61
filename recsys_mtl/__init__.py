"""recsys_mtl: trains multi-task recommenders and says honestly whether a transfer method helps."""
