"""Subtomograms around picks: plan → cut → write → look. Behind `etpick extract`."""

from etpick.extraction.run import Extraction, extract

__all__ = ["Extraction", "extract"]
