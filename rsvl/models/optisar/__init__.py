"""OptiSAR-Net++: the model and the parts that only it uses."""

from rsvl.models.optisar.model import OptiSARNet

__all__ = ["OptiSARNet"]
