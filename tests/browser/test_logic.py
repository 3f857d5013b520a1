"""The page's decisions that need no browser, in JavaScript: ``logic.test.mjs``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def test_the_pages_decisions(page_code):
    bundle = page_code(
        "engine/route_choice",
        "state/saver",
        "state/history",
        "state/document",
        "state/turns",
        "state/past",
        "view/viewport",
    )
    done = subprocess.run(
        ["node", "--test", Path(__file__).with_name("logic.test.mjs")],
        env={**os.environ, "PAGE_CODE": str(bundle)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
