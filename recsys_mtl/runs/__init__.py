"""A training run: train, evaluate, baselines, and what reads finished runs."""
