"""Sets of picks assessed by averaging: gather → extract → refine → measure → report. Behind `etpick assess`."""

from etpick.assessing.run import Assessment, assess

__all__ = ["Assessment", "assess"]
