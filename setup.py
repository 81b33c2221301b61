"""The packages and the native kernels, one library an instruction set; pyproject.toml has the rest.

Without a compiler the installation works all the same, and the network runs on torch's operations.
"""

import copy
import platform
import zlib
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

SOURCE = "recsys_mtl/native/hidden.c"
FLAGS = {"base": []}
if platform.machine() in ("x86_64", "AMD64"):
    FLAGS["avx2"] = ["-mavx2", "-mfma"]
    FLAGS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"]
EXACT = [
    "-O3",
    "-g0",
    "-fopenmp-simd",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
]


class BuildApart(build_ext):
    """Builds each library in a folder of its own, as all have one source and are built at once."""

    def build_extension(self, ext: Extension) -> None:
        """Else one might be linked from the object file of another."""
        own = copy.copy(self)
        own.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(own, ext)


setup(
    cmdclass={"build_ext": BuildApart},
    packages=[*find_packages(include=["recsys_mtl*", "data_synth*"]), "recsys_mtl.configs"],
    package_dir={"recsys_mtl.configs": "configs"},  # the ready configs, for `recsys-mtl configs`
    options={"build_ext": {"parallel": True}},
    ext_modules=[
        Extension(
            f"recsys_mtl.native._{variant}",
            [SOURCE],
            define_macros=[("RECSYS_SOURCE", f"{zlib.crc32(Path(SOURCE).read_bytes())}u")],
            extra_compile_args=[*EXACT, *flags],
            optional=True,
        )
        for variant, flags in FLAGS.items()
    ],
)
