"""Images: reading a raster or picture into what a model takes, whole or tile by tile."""
