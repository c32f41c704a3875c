"""Packages of the operating system that an image has beside those of its base image.

`_base` reads what the base image has, `_choose` finds what the run used that is
lacking there, `_layer` makes a layer of it. Both builders use the same layer.
"""

from mlrepro_nb.image.system._base import BaseSystem, base_system
from mlrepro_nb.image.system._choose import with_packages
from mlrepro_nb.image.system._layer import packages

__all__ = ["BaseSystem", "base_system", "packages", "with_packages"]
