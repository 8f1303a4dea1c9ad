"""The session against the sandbox."""
