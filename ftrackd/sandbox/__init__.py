"""An ftrack-compatible server on SQL, for machines without one."""
