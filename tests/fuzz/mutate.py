"""Inputs that are almost right: bytes and JSON values, changed as readers trip over it."""

import copy
import json

ODD = [
    None,
    True,
    -1,
    0,
    1,
    7,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    1e308,
    -1e308,
    5e-324,
    float("nan"),
    float("inf"),
    "",
    "0",
    "\x1b[2J\n",
    "\ud800",
    "../../x",
    "a" * 5000,
    "0" * 64,
    [],
    [[]],
    [None],
    [1, 2],
    [0.5, 1e9, -3, 4],
    {},
    {"a": 1},
    {"size": [1, 1], "counts": [1]},
    {"size": [2**40, 2**40], "counts": [2**63 - 1, 2**63 - 1, 2]},
]
"""Values of every kind, at the ends of their ranges."""

WORDS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**63, 2**64 - 1]


def mutated_bytes(random, data, others=()):
    """Change a file in a few places."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4, 8, 32))):
        if not data:
            return bytes(data)
        at = random.randrange(len(data))
        end = min(len(data), at + random.choice((1, 2, 4, 8, 64, 1024)))
        kind = random.randrange(8)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at] = random.randrange(256)
        elif kind == 2:
            size = random.choice((2, 4, 8))
            word = random.choice(WORDS) % (1 << (8 * size))
            data[at : at + size] = word.to_bytes(size, random.choice(("little", "big")))
        elif kind == 3:
            del data[at:end]
        elif kind == 4:
            data[at:at] = data[at:end]
        elif kind == 5:
            data[at:end] = bytes(end - at)
        elif kind == 6:
            del data[at:]
        elif others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            data[at:end] = other[start : start + random.choice((4, 64, 1024))]
    return bytes(data)


def mutated_json(random, document):
    """Change a JSON document in a few places and return its bytes."""
    document = copy.deepcopy(document)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        document = _changed(random, document)
    data = json.dumps(document).encode("utf-8", "surrogatepass")
    return mutated_bytes(random, data) if random.random() < 0.05 else data


def _changed(random, document):
    places = list(_places(document)) if isinstance(document, dict | list) else []
    if not places:
        return copy.deepcopy(random.choice(ODD))
    parent, key = random.choice(places)
    kind = random.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[random.choice(("", "extra", "id", "\x00"))] = copy.deepcopy(random.choice(ODD))
    elif kind == 2:
        other, name = random.choice(places)
        parent[key] = copy.deepcopy(other[name])
    elif kind == 3 and isinstance(parent, list):
        parent *= 2
    elif kind == 4 and isinstance(parent[key], int | float):
        parent[key] = random.choice((-parent[key], parent[key] * 1e6, str(parent[key])))
    else:
        parent[key] = copy.deepcopy(random.choice(ODD))
    return document


def _places(value):
    waiting = [value]
    while waiting:
        value = waiting.pop()
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            yield value, key
            if isinstance(value[key], dict | list):
                waiting.append(value[key])
