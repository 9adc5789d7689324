"""Scene classification: which of a model's own classes an image shows."""
