"""Object counting: an image, and how many objects it shows."""
