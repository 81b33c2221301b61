"""The engine of studies: many paired trainings from one plan, resumed, compared and reported.

`ablate` and `reproduce` run on it. A kind of study (`Study`) says what its units are, how one is
trained and what their results say together. The engine (`run_study`) keeps every result as a file
of its own, trains what is missing in worker processes, and writes report and result.json.
"""
