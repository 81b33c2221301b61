"""Training: the step, the loop (sole owner of time), evaluation and metrics."""
