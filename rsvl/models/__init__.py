"""The models: one file each, registered by name (see `rsvl.registry`)."""
