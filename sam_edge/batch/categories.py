"""Categories of a whole set: each number once, and one number for a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Category = Mapping[str, Any]


def joined(
    known: Mapping[int | str, Category], others: Mapping[int | str, Category]
) -> dict[int | str, Category]:
    """Say which category of a whole set each of a prompts' file is.

    The set's own stay. Another with the number and the name of one is that one; so is one that
    has its name alone, or its number alone and no name but the number. The rest keep their
    numbers where they are free.

    >>> joined({1: {"id": 1, "name": "cat"}}, {1: {"id": 1, "name": "dog"}})
    {1: {'id': 2, 'name': 'dog'}}
    """
    taken = dict(known)
    by_name = {entry["name"]: entry for entry in known.values()}
    result: dict[int | str, Category] = {}
    for key, entry in others.items():
        same = known.get(key)
        if same is not None and entry["name"] in (same["name"], str(key)):
            result[key] = same
        elif entry["name"] in by_name:
            result[key] = by_name[entry["name"]]
        else:
            number = key
            if key in taken:
                number = 1 + max([0, *(other for other in taken if isinstance(other, int))])
            taken[number] = result[key] = {**entry, "id": number}
    return result


class Categories:
    """The set's categories; those that only results have are numbered after them."""

    def __init__(self, entries: Sequence[Category]) -> None:
        self.entries = list(entries)
        self._known = {entry["id"]: entry for entry in entries}
        self._by_name = {entry["name"]: entry["id"] for entry in reversed(entries)}

    def number(self, entry: Category) -> int | str:
        """Return the set's number for a result's category."""
        same = self._known.get(entry["id"])
        if same is not None and same["name"] == entry["name"]:
            number: int | str = entry["id"]
            return number
        if entry["name"] not in self._by_name:
            number = 1 + max([0, *(key for key in self._known if isinstance(key, int))])
            added = {**entry, "id": number}
            self.entries.append(added)
            self._known[number] = added
            self._by_name[entry["name"]] = number
        found: int | str = self._by_name[entry["name"]]
        return found
