"""A plugin author's code, checked by mypy."""
