"""Pictures larger than the encoder's frame, tile by tile; see ``docs/large-pictures.md``."""

from sam_edge.tiling.everything import segment_tiles
from sam_edge.tiling.grid import Grid, TilingError, check_tiles
from sam_edge.tiling.records import TiledMask
from sam_edge.tiling.windows import ArrayWindows, Windows, georeference_of, open_windows

__all__ = [
    "ArrayWindows",
    "Grid",
    "TiledMask",
    "TilingError",
    "Windows",
    "check_tiles",
    "georeference_of",
    "open_windows",
    "segment_tiles",
]
