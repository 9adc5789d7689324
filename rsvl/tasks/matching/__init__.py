"""Image-text matching: which sentence an image fits, without having been trained on the classes."""
