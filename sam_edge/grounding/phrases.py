"""Phrases into a text tower: checked, and turned into tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sam_edge.errors import ManifestError, MissingDependencyError, PromptError
from sam_edge.spec import TokenizerFile
from sam_edge.text import is_printable, shown

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_CHARACTERS = 100_000
"""A longer phrase is refused before its tokens are counted."""


def checked_phrases(phrases: str | Iterable[str]) -> list[str]:
    """Return phrases without blanks around them, each once, in their order.

    Args:
        phrases: several, or one.

    Raises:
        PromptError: if one is empty, is no text or holds control characters, or there are none.

    >>> checked_phrases([" the red mug ", "plate", "the red mug"])
    ['the red mug', 'plate']
    """
    several = [phrases] if isinstance(phrases, str) else phrases
    if not isinstance(several, Iterable):
        raise PromptError(f"phrases are texts, got {type(several).__name__}")
    found = {_checked(phrase): None for phrase in several}
    if not found:
        raise PromptError("there is no phrase: name what to look for")
    return list(found)


def _checked(phrase: object) -> str:
    if not isinstance(phrase, str):
        raise PromptError(f"a phrase is a text, got {type(phrase).__name__}")
    if len(phrase) > MAX_CHARACTERS:
        raise PromptError(f"a phrase has {len(phrase)} characters; name one thing in a few words")
    words = phrase.strip(" ")
    if not is_printable(words):
        raise PromptError(f"the phrase {shown(words)} holds control characters; leave them out")
    if not words.strip():
        raise PromptError("a phrase is empty: name what to look for, such as 'the red mug'")
    return words


class Phrases:
    """Turns phrases into tokens, as the text tower was trained on them.

    Args:
        path: the bundle's ``tokenizer.json``, whose bytes were compared with its manifest.
        spec: how many tokens a phrase has room for.

    Raises:
        MissingDependencyError: if ``tokenizers`` is not installed.
        ManifestError: if the file holds no tokenizer.
    """

    def __init__(self, path: Path, spec: TokenizerFile) -> None:
        self._path = path
        self._tokenizer = _open(path)
        self._spec = spec

    def tokens(self, phrase: str) -> NDArray[np.int64]:
        """Return a phrase's tokens, padded; shape ``(length,)``.

        Raises:
            PromptError: if it has more tokens than there is room for, or no words.
            ManifestError: if the file's parts contradict each other.
        """
        with _tokenizing(self._path):
            ids = self._tokenizer.encode(phrase).ids
        length = self._spec.length
        if len(ids) > length:
            raise PromptError(
                f"the phrase {shown(phrase)} has {len(ids)} tokens with its beginning and end, the "
                f"text tower takes {length}; say it in fewer words, or as several phrases"
            )
        if len(ids) < 3:
            raise PromptError(f"the phrase {shown(phrase)} has no words that the tower knows")
        tokens = np.zeros(length, np.int64)
        tokens[: len(ids)] = ids
        return tokens


def _open(path: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(
            "phrases need tokenizers, which is not installed; run: pip install 'sam-edge[text]'"
        ) from error
    with _tokenizing(path):
        tokenizer = Tokenizer.from_file(str(path))
    # A file may ask for either; what is too long is refused, not cut.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@contextmanager
def _tokenizing(path: Path) -> Iterator[None]:
    """Say in one line what the library stumbles over: it raises nothing more special.

    Its panics are no ``Exception``.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise ManifestError(f"{path} holds no tokenizer: {shown(str(error))}") from error
        raise
