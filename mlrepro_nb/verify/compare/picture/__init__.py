"""Pictures by what they show."""

from mlrepro_nb.verify.compare.picture._compare import compare_images

__all__ = ["compare_images"]
