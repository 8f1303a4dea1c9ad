"""Structures: which resource identifier the data of a component gets in a location."""
