"""The pytest plugin for authors of plugins."""
