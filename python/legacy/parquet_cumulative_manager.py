"""The old name of a manager that `evaltop.legacy` now provides."""

from evaltop.legacy import ParquetCumulativeManager

__all__ = ["ParquetCumulativeManager"]
