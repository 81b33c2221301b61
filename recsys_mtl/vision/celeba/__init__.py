"""CelebA: faces with yes/no attributes, from the official files or their CSV variants.

Liu, Luo, Wang and Tang 2015, "Deep Learning Face Attributes in the Wild", ICCV.
"""

from recsys_mtl.vision.celeba.load import load_celeba
from recsys_mtl.vision.celeba.split import CelebaSplit

__all__ = ["CelebaSplit", "load_celeba"]
