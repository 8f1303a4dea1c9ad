"""ftrackd: an event daemon that hosts plugins for ftrack."""

__version__ = "0.1.0"
