"""Results: what a model found, as numbers, pictures, rasters and features on a map."""
