"""End-to-end jobs, one a file with a function `run`; `pipelines.cli` is their command line."""
