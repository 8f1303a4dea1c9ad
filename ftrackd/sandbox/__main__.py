"""``python -m ftrackd.sandbox``."""

from ftrackd.sandbox.main import main

raise SystemExit(main())
