"""OptiSAR-Net++: the released network, the tiny preset of an earlier reading, and the parts that only they use."""

from rsvl.models.optisar.model import OptiSARNet
from rsvl.models.optisar.released import OptiSARNetPlusPlus

__all__ = ["OptiSARNet", "OptiSARNetPlusPlus"]
