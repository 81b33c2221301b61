"""The command line `recsys-mtl`: one file a command."""
