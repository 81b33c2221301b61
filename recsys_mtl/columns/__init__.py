"""Reading raw columns: canonical values, look-ups, statistics fitted a chunk at a time."""
