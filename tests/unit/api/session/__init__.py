"""The session, its parts and its pure functions."""
