"""``python -m sam_edge.cli`` is ``sam-edge``."""

import sys

from sam_edge.cli import main

sys.exit(main())
