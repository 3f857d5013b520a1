"""An encoder's file opened as a bundle opens it, before there is a bundle. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from sam_edge_runtimes import Session, open_session


def open_encoder(
    engine: str, path: Path, sides: tuple[int, ...], threads: int | None = None
) -> Session:
    """Open an encoder for one image at a time.

    Args:
        engine: an installed one.
        path: the graph's file.
        sides: height and width of its image.
        threads: None leaves it to the engine.
    """
    return open_session(
        engine,
        path,
        threads=threads,
        input_shapes={"image": ("batch", 3, "height", "width")},
        fixed={"batch": 1, **dict(zip(("height", "width"), sides, strict=True))},
        pack_weights=False,
    )
