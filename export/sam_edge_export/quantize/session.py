"""An encoder's file opened as a bundle opens it, before there is a bundle. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from sam_edge_runtimes import Session, open_session


def open_encoder(engine: str, path: Path, image_size: int, threads: int | None = None) -> Session:
    """Open an encoder for one image at a time.

    Args:
        engine: an installed one.
        path: the graph's file.
        image_size: side of its frame, in pixels.
        threads: None leaves it to the engine.
    """
    return open_session(
        engine,
        path,
        threads=threads,
        input_shapes={"image": ("batch", 3, image_size, image_size)},
        fixed={"batch": 1},
        pack_weights=False,
    )
