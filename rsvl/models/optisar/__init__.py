"""OptiSAR-Net++, and the parts that only it uses."""

from rsvl.models.optisar.released import OptiSARNetPlusPlus

__all__ = ["OptiSARNetPlusPlus"]
