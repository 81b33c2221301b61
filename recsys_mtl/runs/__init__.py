"""A training run from its config, and what reads finished runs.

    train.train              data, training, test metrics, model folder, tracked run
    validate.validate        config and data checked without training
    evaluate.evaluate        a stored model on labelled rows
    compare.compare          finished runs in one table
    leaderboard.leaderboard  finished runs in MLflow, best first
    trained.read_trained     a finished run, by its folder or its id in MLflow

The other modules are parts of these: baselines, intervals, what is reachable where the truth is
known, and what the tracker gets. Each imports what it needs; this package alone imports nothing.
"""
