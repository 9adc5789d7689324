"""Image and text encoders, each with the key tables of its published checkpoints."""
