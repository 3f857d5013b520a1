"""A process that opens one subject and measures it. Started by ``driver``, never by hand.

One JSON object a line comes in on standard input and goes out on what was standard output when
the process started. Whatever a library prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from sam_edge_benchmarks.measure import Stopwatch
from sam_edge_benchmarks.probes import read_board
from sam_edge_benchmarks.work import Opaque, Request, Settings, UnavailableError

if TYPE_CHECKING:
    from sam_edge.image import RgbImage
    from sam_edge_benchmarks.subjects import Subject


def main() -> None:
    """Serve requests until standard input ends."""
    # Libraries print to descriptor 1; answers must not be mixed with that.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    session = Session(lambda message: _send(answers, message))
    for line in sys.stdin:
        message = json.loads(line)
        try:
            session.serve(message)
        except ImportError as error:
            package = (error.name or "").split(".")[0]
            _send(answers, {"missing": package or _one_line(error), "detail": _one_line(error)})
        except UnavailableError as error:
            _send(answers, {"missing": str(error), "detail": str(error)})
        except Exception as error:
            traceback.print_exc()
            _send(answers, {"failed": f"{type(error).__name__}: {_one_line(error)}"})
        _send(answers, {"end": True})


class Session:
    """Answers the messages of one driver.

    Args:
        send: takes one JSON object.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self.send = send
        self.stopwatch = Stopwatch()
        self._calls: dict[tuple[str, int | None], Callable[[], Any]] = {}

    def serve(self, message: dict[str, Any]) -> None:
        """Do what a message asks.

        ``prepare`` makes files; ``cold`` times import, load and first run; ``measure`` the other
        phases, too; ``masks`` only writes the fidelity prompts' masks; ``open`` warms a subject up
        and ``sample`` takes one sample of its phases.
        """
        task = message["do"]
        if task == "prepare":
            module = importlib.import_module(message["module"])
            self.send({"prepared": module.prepare(message["arguments"])})
            return
        if task == "sample":
            self._sample(message["phase"], message["prompts"])
            return
        request = Request.from_json(message["request"])
        subject, photo = self._start(request)
        if task == "open":
            self._calls = dict(_warm_phases(subject, photo, request.prompts))
            for call in self._calls.values():
                for _ in range(request.settings.warmup):
                    call()
        elif task == "measure":
            self._measure(subject, photo, request)
        elif task == "masks":
            _write_masks(subject, photo, Path(request.masks_file or os.devnull))

    def _start(self, request: Request) -> tuple[Subject, RgbImage]:
        """Time import, load and first run."""
        self.send({"board": read_board()})
        module = importlib.import_module(request.module)
        phase, _ = self.stopwatch.once("import", lambda: module.import_libraries(request))
        self.send({"phase": phase})

        from sam_edge.image import read_image

        photo = read_image(Path(request.photo))
        phase, subject = self.stopwatch.once("load", lambda: module.load(request))
        self.send({"phase": phase})
        self.send({"device": subject.device()})
        phase, _ = self.stopwatch.once("first run", lambda: _first_run(subject, photo))
        self.send({"phase": phase})
        return subject, photo

    def _measure(self, subject: Subject, photo: RgbImage, request: Request) -> None:
        settings = request.settings
        for (name, prompts), call in _warm_phases(subject, photo, request.prompts):
            self.send({"phase": self.stopwatch.repeated(name, call, settings, prompts)})
        if request.masks_file is not None:
            _write_masks(subject, photo, Path(request.masks_file))
            self.send({"masks": True})
        if settings.everything_repeats and hasattr(subject, "everything"):
            few = replace(
                settings,
                warmup=0,
                repeats=settings.everything_repeats,
                min_repeats=1,
            )
            side = request.points_per_side
            self.send({"starting": "everything"})
            phase = self.stopwatch.repeated(
                "everything", lambda: subject.everything(photo, side), few, side * side
            )
            self.send({"phase": phase})
        self.send({"board": read_board()})

    def _sample(self, phase: str, prompts: int | None) -> None:
        call = self._calls[phase, prompts]
        once = Settings(0, 1, 1, 0.0, 0, 0)
        self.send({"phase": self.stopwatch.repeated(phase, call, once, prompts)})


def _first_run(subject: Subject, photo: RgbImage) -> Opaque:
    from sam_edge_benchmarks.prompts import clicks

    embedding = subject.encode(subject.preprocess(photo))
    return subject.postprocess(subject.decode(embedding, clicks(1, *photo.shape[:2])))


def _warm_phases(
    subject: Subject, photo: RgbImage, batches: tuple[int, ...]
) -> Iterator[tuple[tuple[str, int | None], Callable[[], Any]]]:
    """Give the phases of a running program, each with what it needs already at hand."""
    from sam_edge_benchmarks.prompts import clicks

    frame = subject.preprocess(photo)
    yield ("preprocess", None), lambda: subject.preprocess(photo)
    embedding = subject.encode(frame)
    yield ("encode", None), lambda: subject.encode(frame)
    for count in batches:
        prompts = clicks(count, *photo.shape[:2])
        decoded = subject.decode(embedding, prompts)
        # partial binds now: the loop goes on before "sample" comes back to this phase
        yield ("decode", count), partial(subject.decode, embedding, prompts)
        yield ("postprocess", count), partial(subject.postprocess, decoded)


def _write_masks(subject: Subject, photo: RgbImage, file: Path) -> None:
    """Write the masks of the fidelity prompts as bits, ``(prompts, 3, H * W / 8)``."""
    import numpy as np

    from sam_edge_benchmarks.prompts import fidelity_prompts

    embedding = subject.encode(subject.preprocess(photo))
    masks = np.concatenate(
        [
            subject.postprocess(subject.decode(embedding, prompts))
            for prompts in fidelity_prompts(*photo.shape[:2])
        ]
    )
    np.save(file, np.packbits(masks.reshape(*masks.shape[:2], -1), axis=-1))


def _send(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


if __name__ == "__main__":
    main()
