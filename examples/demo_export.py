"""Checkpoint -> bundle -> verified -> masks, with a checkpoint made here from a seed.

    python examples/demo_export.py FOLDER

The encoder's weights are random, so the mask means nothing and the overlay says so; what the demo
shows is the way from a checkpoint to masks, and that both engines agree with PyTorch.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from sam_edge.cli import main as sam_edge_command
from sam_edge_export.seeded import seeded_checkpoint


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, bundle = folder / "seeded_vit_b_256.pth", folder / "seeded_vit_b_256"
    photo = str(files("sam_edge") / "assets" / "photos" / "astronaut.jpg")
    seeded_checkpoint("vit_b", 256, 0, checkpoint)
    overlay = str(folder / "seeded.png")
    steps = [
        ["export", str(checkpoint), "-o", str(bundle), "--force"],
        ["verify", str(bundle), "--checkpoint", str(checkpoint)],
        ["info", str(bundle)],
        ["segment", photo, "-m", str(bundle), "--point", "220,150", "--overlay", overlay],
    ]
    for step in steps:
        sys.stdout.write(f"\n$ sam-edge {' '.join(step)}\n")
        sys.stdout.flush()
        code = sam_edge_command(step)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo")))
