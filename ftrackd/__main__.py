"""``python -m ftrackd``: the ``ftrackd`` command."""

from ftrackd.cli import main

main()
