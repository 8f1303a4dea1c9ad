"""Fixtures that pytest finds when ftrackd is installed."""
