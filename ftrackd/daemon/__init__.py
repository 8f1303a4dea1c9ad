"""The life of the main process: boot, readiness, health, control, drain, stop."""
