"""Custom operations: each defined once, as a `torch.library` operation whose docstring is the definition."""

from rsvl.ops.rotated_conv import rotated_conv2d, rotation_matrix

__all__ = ["rotated_conv2d", "rotation_matrix"]
