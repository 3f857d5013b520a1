"""The errors of sam-edge; see ``sam_edge_runtimes.errors`` for their base."""

from __future__ import annotations

from sam_edge_runtimes.errors import (
    ArgumentError,
    EngineError,
    MissingDependencyError,
    RunStoppedError,
    SamEdgeError,
)

__all__ = [
    "ArgumentError",
    "ChecksumError",
    "DownloadError",
    "EmbeddingError",
    "EngineError",
    "ImageError",
    "ImageNotSetError",
    "JsonFileError",
    "ManifestError",
    "MissingDependencyError",
    "ModelNotFoundError",
    "PromptError",
    "RunStoppedError",
    "SamEdgeError",
    "TorchNeededError",
    "UnwritableError",
]


class ImageError(SamEdgeError, ValueError):
    """A photo that cannot be read, or an array that is no photo."""


class PromptError(SamEdgeError, ValueError):
    """A prompt that cannot be meant: outside the photo, not a number, of the wrong shape."""


class EmbeddingError(SamEdgeError, ValueError):
    """An embedding that is not this model's, or a file that holds none."""


class ManifestError(SamEdgeError, ValueError):
    """A bundle whose manifest cannot be trusted."""


class ChecksumError(SamEdgeError, OSError):
    """A file whose bytes are not those that were promised."""


class DownloadError(SamEdgeError, OSError):
    """A file that a server does not give, or not whole."""


class ModelNotFoundError(SamEdgeError, FileNotFoundError):
    """A model name that nobody knows, or a bundle that is not there."""


class JsonFileError(SamEdgeError, ValueError):
    """A file that holds no JSON, or numbers that nothing can be done with."""


class UnwritableError(SamEdgeError, OSError):
    """A place that nothing can be written to."""


class ImageNotSetError(SamEdgeError, RuntimeError):
    """A predictor that was asked about a photo before it was given one."""


class TorchNeededError(SamEdgeError, AttributeError):
    """A name of the official interface that only torch can answer: ``hasattr`` says no."""
