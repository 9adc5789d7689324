"""Images: reading a raster or image into what a model takes, whole or tile by tile."""
