"""How an event reaches a plugin: intake, journal, order, retries, dead letters, replay."""
