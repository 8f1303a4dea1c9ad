"""Entity classes: the base, the factory that makes them, and what some types can do besides."""

from ftrackd.api._submodules import on_first_use

__getattr__ = on_first_use(
    __name__,
    "asset_version",
    "base",
    "component",
    "factory",
    "job",
    "location",
    "note",
    "project_schema",
    "user",
)
