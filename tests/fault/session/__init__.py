"""The session when the network or the server fails."""
