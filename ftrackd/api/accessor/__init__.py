"""Accessors: how the data of a location is reached."""

from ftrackd.api._submodules import on_first_use

__getattr__ = on_first_use(__name__, "base", "disk", "server")
