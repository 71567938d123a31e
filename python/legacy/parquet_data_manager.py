"""The old name of a manager that `evaltop.legacy` now provides."""

from evaltop.legacy import ParquetDataManager

__all__ = ["ParquetDataManager"]
