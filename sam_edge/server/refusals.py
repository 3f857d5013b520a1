"""What a request can be told other than its answer: a status, a code, one line."""

from __future__ import annotations

import errno
import logging
from typing import Any

from sam_edge.automatic import GeneratorError
from sam_edge.errors import (
    ArgumentError,
    EmbeddingError,
    ImageError,
    JsonFileError,
    PromptError,
    SamEdgeError,
    UnwritableError,
)
from sam_edge.masks import MaskError
from sam_edge.text import printable

logger = logging.getLogger("sam_edge")


class RefusedError(SamEdgeError):
    """A request that is not answered as it wished; see ``docs/http.md`` for the codes.

    Attributes:
        status: HTTP's.
        code: ours, for programs.
        more: further fields of the answer.
        retry_after_s: when to come again, or None.
    """

    status = 500
    code = "failed"
    retry_after_s: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.more: dict[str, Any] = {}


class BadRequestError(RefusedError):
    """A body, a query or a prompt that cannot be meant."""

    status, code = 400, "bad_request"


class WrongTokenError(RefusedError):
    """A request without the server's token."""

    status, code = 401, "token"


class ForbiddenError(RefusedError):
    """A request from elsewhere, or for what is not served."""

    status, code = 403, "forbidden"


class NotFoundError(RefusedError):
    """There is no such thing."""

    status, code = 404, "not_found"


class NoEmbeddingError(RefusedError):
    """An embedding that was never made, or that others have driven out."""

    status, code = 404, "no_embedding"


class WrongMethodError(RefusedError):
    """A path that is there for another method."""

    status, code = 405, "method"


class SlowBodyError(RefusedError):
    """A body that does not come."""

    status, code = 408, "timeout"


class ConflictError(RefusedError):
    """Somebody else saved meanwhile."""

    status, code = 409, "conflict"


class SupersededError(RefusedError):
    """A newer request of the same client."""

    status, code = 409, "superseded"


class TooLargeError(RefusedError):
    """More than the server takes."""

    status, code = 413, "too_large"


class WrongTypeError(RefusedError):
    """A body of a type that is not taken here."""

    status, code = 415, "media_type"


class BadPhotoError(RefusedError):
    """A file that is no photo."""

    status, code = 422, "bad_photo"


class TooManyDecodesError(RefusedError):
    """The queue for decodes is full."""

    status, code, retry_after_s = 429, "busy", 1


class TooMuchWorkError(RefusedError):
    """The queue for long work is full."""

    status, code, retry_after_s = 503, "busy", 5


class TimedOutError(RefusedError):
    """It took longer than it may."""

    status, code, retry_after_s = 503, "timeout", 5


class FullError(RefusedError):
    """There is no room."""

    status, code = 507, "full"


_KINDS: tuple[tuple[type[Exception], type[RefusedError]], ...] = (
    (ImageError, BadPhotoError),
    (PromptError, BadRequestError),
    (GeneratorError, BadRequestError),
    (MaskError, BadRequestError),
    (JsonFileError, BadRequestError),
    (ArgumentError, BadRequestError),
    (EmbeddingError, BadRequestError),
)


def as_refusal(error: Exception) -> RefusedError:
    """Turn any error into what the client is told. What is unforeseen is logged, not told."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, TimeoutError):
        return TimedOutError("it took longer than it may; try again later")
    if isinstance(error, UnwritableError | PermissionError):
        full = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC
        return (FullError if full else ForbiddenError)(_line(error))
    for kind, refusal in _KINDS:
        if isinstance(error, kind):
            return refusal(_line(error))
    if isinstance(error, SamEdgeError):
        logger.error("%s", _line(error))
        return RefusedError(_line(error))
    if isinstance(error, MemoryError):
        return RefusedError("out of memory; a smaller photo or a smaller model needs less")
    logger.error("unforeseen: %s", type(error).__name__, exc_info=error)
    return RefusedError("something unforeseen happened; the server's log says more")


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:500]
