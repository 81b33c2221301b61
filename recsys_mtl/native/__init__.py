"""Native kernels of the network on a CPU, built at install where a C compiler is.

Without them, or with the environment variable `RECSYS_MTL_NATIVE=0`, the network runs on torch's
own operations.
"""

from recsys_mtl.native.library import SWITCH, Kernels, described, kernels

__all__ = ["SWITCH", "Kernels", "described", "kernels"]
