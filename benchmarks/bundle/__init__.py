"""How fast a bundle is on a machine, beside other runners of its model."""
