"""Raw columns: canonical values, lookup tables, statistics fitted in chunks."""
