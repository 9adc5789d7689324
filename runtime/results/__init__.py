"""Results: what a model found, as numbers, overlays, rasters and features on a map."""
