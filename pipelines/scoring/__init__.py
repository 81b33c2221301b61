"""Parts of `recsys-mtl predict`, one a file; pipelines/predict.py puts them together."""
