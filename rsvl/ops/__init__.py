"""Custom operations: each defined once, as a `torch.library` operation whose docstring is the definition."""

from rsvl.ops.lora_moe import lora_moe, top_k_gate
from rsvl.ops.patch_lora_moe import patch_lora_moe
from rsvl.ops.rotated_conv import rotated_conv2d, rotation_matrix
from rsvl.ops.selective_scan import selective_scan

__all__ = ["lora_moe", "patch_lora_moe", "rotated_conv2d", "rotation_matrix", "selective_scan", "top_k_gate"]
