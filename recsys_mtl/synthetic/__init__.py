"""Jobs on generated data: synthesize and describe."""
