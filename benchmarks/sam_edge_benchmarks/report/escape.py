"""Strings of records come from strangers: nothing of them may act, on a page or in a terminal."""

from __future__ import annotations

import html
import unicodedata


def plain(text: object) -> str:
    r"""Return text without control characters, on one line.

    >>> plain("one\ntwo" + chr(27) + "[31m")
    'one two[31m'
    """
    line = " ".join(str(text).split())
    return "".join(letter for letter in line if unicodedata.category(letter)[0] != "C")


def markup(text: object) -> str:
    """Return text for HTML and SVG, inside elements and quoted attributes.

    >>> markup("<b>'x'</b>")
    '&lt;b&gt;&#x27;x&#x27;&lt;/b&gt;'
    """
    return html.escape(plain(text), quote=True)


def cell(text: object) -> str:
    """Return text for a cell of a Markdown table.

    >>> cell("a|b <i>")
    'a&#124;b &lt;i&gt;'
    """
    escaped = html.escape(plain(text), quote=False)
    for letter in "|`*[]":
        escaped = escaped.replace(letter, f"&#{ord(letter)};")
    return escaped
