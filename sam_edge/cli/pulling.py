"""A named model from the network to a bundle in the cache, and what is said on the way."""

from __future__ import annotations

from pathlib import Path

from sam_edge.cli.console import TransferBar, say, status
from sam_edge.errors import SamEdgeError
from sam_edge.zoo import pull
from sam_edge.zoo.cache import bundle_path, kept_bundle


def pull_checkpoint(name: str) -> Path:
    """Return a named checkpoint's file, fetched with its progress shown if it is not here."""
    return pull(name, TransferBar.if_watched())


def pull_bundle(
    name: str,
    precision: str | None = None,
    image_size: int | None = None,
    *,
    verify: bool = True,
) -> Path:
    """Return a named model's bundle, fetched and filled without torch if it is not here.

    Args:
        name: of the table, with a checkpoint.
        precision: one of ``PRECISIONS``; None takes the fastest whose masks are proved here: int8
            where it passes its gates, else float32.
        image_size: one that there are templates for; None takes the checkpoint's own.
        verify: as for ``fill_bundle``.

    Raises:
        SamEdgeError: as ``pull`` and ``fill_bundle``.
    """
    # What compares and fills is needed by those alone who fetch, and every command starts here.
    from sam_edge.filling.bundle import fill_bundle
    from sam_edge.gates import FidelityError, SlowError

    if precision is None:
        for wanted in ("int8", "fp32"):
            if (kept := kept_bundle(name, wanted, image_size)) is not None:
                return kept
        pull_checkpoint(name)  # what fails here would fail for float32, too
        try:
            bundle = pull_bundle(name, "int8", image_size)
        except (FidelityError, SlowError) as error:
            reason = str(error).partition("; nothing was written")[0]
            say(f"{reason}; so it is float32, which is as exact as the exporter's")
            return pull_bundle(name, "fp32", image_size)
        except SamEdgeError as error:
            say(f"no int8: {error}")
            return pull_bundle(name, "fp32", image_size)
        say("int8: its masks and its speed were compared with float32's here and passed")
        return bundle
    if (kept := kept_bundle(name, precision, image_size)) is not None:
        return kept
    checkpoint = pull_checkpoint(name)
    bundle = bundle_path(name, precision, image_size)
    fill_bundle(
        checkpoint,
        bundle,
        image_size=image_size,
        precision=precision,
        verify=verify,
        min_iou=None if verify else 0,
        progress=status,
    )
    return bundle
