"""A model behind HTTP: `recsys-mtl serve`.

A request's rows are checked against the model's columns (`request`), wait for the worker thread,
which scores all that wait together (`batcher`), and are answered (`app`). `reload` exchanges the
model while requests are answered, `server` runs all of it until a signal ends it.
"""
