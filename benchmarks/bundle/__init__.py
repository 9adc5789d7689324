"""How fast a bundle is on a machine, and beside it other ways of running its model."""
