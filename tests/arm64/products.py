"""Are numpy's matrix products right on this processor? ``python products.py`` exits with 1 if not.

Masks are resized with them, and the library behind them has code of its own for many processors.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

SIZES = [(48, 15, 15), (2, 3, 4), (64, 64, 64), (17, 33, 65), (1, 15, 48)]
"""Rows, what is summed over, columns; the first are those of a mask's tiles."""


def kernels() -> str:
    """Return whose code OpenBLAS chose, as OPENBLAS_CORETYPE would name it."""
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    for library in folder.glob("libscipy_openblas*"):
        name = ctypes.CDLL(str(library)).scipy_openblas_get_corename64_
        name.restype = ctypes.c_char_p
        return str(name().decode())
    return "no OpenBLAS of a wheel"


def wrong() -> list[str]:
    """Return the products that are not what is summed up without the library."""
    rng = np.random.default_rng(0)
    found = []
    for dtype in (np.float32, np.float64):
        for rows, inner, columns in SIZES:
            for layout in ("CC", "CF", "FC", "FF"):
                left = rng.normal(size=(rows, inner)).astype(dtype, order=layout[0])
                right = rng.normal(size=(inner, columns)).astype(dtype, order=layout[1])
                exact = np.einsum("ik,kj->ij", left, right, optimize=False)
                with np.errstate(all="ignore"):
                    error = np.abs(left @ right - exact).max()
                if not error < 1e-3:
                    found.append(f"{dtype.__name__} {rows}x{inner}x{columns} {layout}: {error:.1g}")
    return found


if __name__ == "__main__":
    bad = wrong()
    total = 2 * len(SIZES) * 4
    sys.stdout.write(
        f"numpy {np.__version__} with OpenBLAS's code for {kernels()}: "
        f"{len(bad)} of {total} products are wrong\n" + "".join(f"  {line}\n" for line in bad)
    )
    sys.exit(bool(bad))
