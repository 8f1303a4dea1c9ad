"""Entity classes: the base, the factory that makes them, and what some types can do besides."""
