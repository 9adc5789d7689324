"""What models of one task or family share."""
