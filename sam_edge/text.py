"""Text from outside, made safe to show."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, line breaks and tabs among them
    "\u2028\u2029"  # line and paragraph separators
    "\u202a-\u202e\u2066-\u2069"  # turns of direction, which make a text read as another
    "\ud800-\udfff\ufffe\uffff]"  # lone surrogates and non-characters: no UTF-8, no XML
)


def printable(text: str) -> str:
    r"""Return a text as one line that is safe to print, to log and to write into XML.

    >>> printable("cup\x1b[2J\n").encode("ascii", "backslashreplace")
    b'cup\\ufffd[2J\\ufffd'
    """
    return _UNSAFE.sub("\ufffd", text)


def is_printable(text: str) -> bool:
    """Whether ``printable`` would leave a text as it is."""
    return _UNSAFE.search(text) is None
