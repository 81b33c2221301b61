"""Checks this environment: installed versions against the packages' requirements, and imports.

The rules are the requirements in the metadata of the installed packages, recsys-mtl's own first;
there is no list of versions here.
"""

from recsys_mtl.environment.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
