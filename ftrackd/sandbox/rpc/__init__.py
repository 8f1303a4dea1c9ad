"""The actions of ``POST /api``."""
