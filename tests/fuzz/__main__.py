"""Open one door with many inputs: ``python -m tests.fuzz DOOR 300 [SEED]``, or ``60s`` of them.

Prints how many inputs were tried. Stops at the first one that hangs, takes gigabytes, or raises
what a user should never see, and says which seed gives it again.
"""

import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from sam_edge.text import is_printable
from tests.fuzz import doors

LONGEST_S = 20
MOST_BYTES = 6 * 2**30  # of address space: torch alone maps three


def main(door, amount, first=0):
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        signal.signal(signal.SIGALRM, _too_long)
    warnings.simplefilter("ignore")
    most = sys.maxsize if amount.endswith("s") else int(amount)
    seconds = float(amount.removesuffix("s")) if amount.endswith("s") else float("inf")
    tried, until = 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        doors._scratch.name = name
        while tried < min(2, most) or (tried < most and time.monotonic() < until):
            seed = f"{door}-{first + tried}"
            tried += 1
            if tried == 2:  # the first one imported what the door needs and made its seeds
                until = time.monotonic() + seconds
            if sys.platform != "win32":
                signal.alarm(LONGEST_S)
            try:
                doors.DOORS[door](random.Random(seed), folder)
            except doors.ALLOWED as error:
                if not is_printable(str(error)) or len(str(error)) > 2000:
                    sys.stdout.write(
                        f"{seed}: the message of {type(error).__name__} is {str(error)!r}\n"
                    )
                    return 1
            except BaseException:
                sys.stdout.write(f"{seed}:\n{traceback.format_exc()}")
                return 1
    sys.stdout.write(f"{door}: {tried} inputs\n")
    return 0


def _too_long(*_):
    raise TimeoutError(f"took more than {LONGEST_S} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int((sys.argv[3:] or ["0"])[0])))
