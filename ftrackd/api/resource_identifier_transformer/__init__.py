"""Resource identifier transformers: what is stored on the server instead of a location's own identifiers."""
