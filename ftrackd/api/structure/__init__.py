"""Structures: which resource identifier the data of a component gets in a location."""

from ftrackd.api._submodules import on_first_use

__getattr__ = on_first_use(__name__, "base", "entity_id", "origin", "standard")
