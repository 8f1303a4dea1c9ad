"""Who runs: finding, loading, supervising and reloading plugins, each in its own process."""
