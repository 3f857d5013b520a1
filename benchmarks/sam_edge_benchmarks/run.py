"""Measure: every model, thread count and subject, one process each; keep what is measured."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sam_edge.image import RgbImage, photo_sha256, read_image
from sam_edge.zoo.table import named_models
from sam_edge_benchmarks.driver import Worker
from sam_edge_benchmarks.errors import BenchmarkError
from sam_edge_benchmarks.machine import fingerprint, git_state, load_average, software
from sam_edge_benchmarks.models import Model, describe_files
from sam_edge_benchmarks.record import MAX_TEXT, Phase, Record, Result, Versus, write_record
from sam_edge_benchmarks.subjects import Choice
from sam_edge_benchmarks.work import Request, Settings, UnavailableError, Work

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one ``bench run`` is asked for.

    Attributes:
        models: with their image sizes.
        choices: the subjects.
        threads: counts; None leaves it to the engine.
        prompts: sizes of the batches of clicks.
        photo: the photo's file.
        points_per_side: of the grid that "everything" asks about.
        settings: how often.
        cache: where prepared files stay.
        log: where the workers' standard error goes; None throws it away.
        reference: whether masks are compared with float32 PyTorch's.
        versus: pairs of subjects to measure in turn, instead of one after the other.
    """

    models: Sequence[Model]
    choices: Sequence[Choice]
    threads: Sequence[int | None]
    prompts: tuple[int, ...]
    photo: Path
    points_per_side: int
    settings: Settings
    cache: Path
    log: Path | None = None
    reference: bool = True
    versus: tuple[Choice, Choice] | None = None


def run(plan: Plan, output: Path, progress: Progress) -> Record:
    """Measure a plan. The record is written after every subject, and when the user stops.

    Raises:
        KeyboardInterrupt: after the record is written, if the user stopped it.
    """
    record = Record(
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        settings={**asdict(plan.settings), "prompts": list(plan.prompts)},
        machine=fingerprint(),
        software=software(),
        git=git_state(),
    )
    photo = read_image(plan.photo)
    with tempfile.TemporaryDirectory(prefix="sam-edge-bench-") as scratch:
        runner = _Runner(plan, record, output, progress, photo, Path(scratch))
        try:
            runner.everything()
        finally:
            write_record(record, output)
    return record


@dataclass(slots=True)
class _Runner:
    plan: Plan
    record: Record
    output: Path
    progress: Progress
    photo: RgbImage
    scratch: Path

    def everything(self) -> None:
        for model in self.plan.models:
            choices = [choice for choice in self.plan.choices if model.fits(choice)]
            if self.plan.versus is not None:
                for threads in self.plan.threads:
                    self._alternate(model, self.plan.versus, threads)
                continue
            reference = self._reference(model, choices)
            if reference is not None:
                # measured first, so that every other subject's masks have something to meet
                choices.sort(key=lambda choice: choice != reference)
            masks = self.scratch / f"{len(self.record.results)}-reference.npy"
            if reference is not None and reference not in choices:
                self._only_masks(model, reference, masks)
            for threads in self.plan.threads:
                for choice in choices:
                    is_reference = choice == reference and not masks.exists()
                    own = masks if is_reference else self.scratch / "own.npy"
                    result = self._measure(model, choice, threads, own)
                    if reference is not None and masks.exists() and own.exists():
                        result.reference = str(reference)
                        result.mask_ious = mask_ious(np.load(masks), np.load(own))
                    if not is_reference:
                        own.unlink(missing_ok=True)
                    write_record(self.record, self.output)

    def _reference(self, model: Model, choices: Sequence[Choice]) -> Choice | None:
        """Choose which float32 PyTorch the masks are compared with."""
        if not self.plan.reference or (model.spec is not None and model.checkpoint is None):
            return None
        row = named_models().get(model.variant)
        name = "official-torch" if row and row.official else "ours-torch"
        on_cpu = Choice(name, "cpu", "eager", "fp32")
        on_cuda = Choice(name, "cuda", "eager", "fp32")
        return on_cuda if on_cuda in choices and on_cpu not in choices else on_cpu

    def _request(
        self, model: Model, choice: Choice, threads: int | None, masks: Path | None
    ) -> Request:
        return Request(
            module=choice.kind.module,
            backend=choice.backend,
            mode=choice.mode,
            precision=choice.precision,
            variant=model.variant,
            image_size=model.image_size,
            model=str(model.path(choice, self.plan.cache)),
            photo=str(self.plan.photo),
            threads=threads,
            prompts=self.plan.prompts,
            points_per_side=self.plan.points_per_side,
            settings=self.plan.settings,
            masks_file=None if masks is None else str(masks),
        )

    def _work(self, model: Model) -> Work:
        return Work(
            variant=model.variant,
            image_size=model.image_size,
            weights=model.weights,
            photo_sha256=photo_sha256(self.photo),
            photo_height=self.photo.shape[0],
            photo_width=self.photo.shape[1],
            points_per_side=self.plan.points_per_side,
        )

    def _only_masks(self, model: Model, choice: Choice, masks: Path) -> None:
        """Let the reference make its masks without being measured."""
        self.progress(f"{model.name} {model.image_size}: masks of {choice}, to compare with")
        try:
            request = self._request(model, choice, None, masks)
        except (UnavailableError, BenchmarkError) as error:
            self.progress(f"  no reference: {error}")
            return
        with Worker(self.plan.log) as worker:
            for answer in worker.measure(request, "masks"):
                if "missing" in answer or "failed" in answer:
                    self.progress(f"  no reference: {answer.get('detail', answer.get('failed'))}")

    def _measure(self, model: Model, choice: Choice, threads: int | None, masks: Path) -> Result:
        result = Result(
            subject=str(choice),
            model=model.name,
            threads=threads,
            work=self._work(model),
            load_before=load_average(),
        )
        # appended before it is measured: stopping keeps the phases so far
        self.record.results.append(result)
        self.progress(
            f"{model.name} {model.image_size} px, {choice}, threads {threads or 'default'}"
        )
        try:
            request = self._request(model, choice, threads, masks)
            result.files = describe_files(Path(request.model), choice)
            with Worker(self.plan.log) as worker:
                for answer in worker.measure(request):
                    self._take(result, answer)
            for _ in range(self.plan.settings.cold_starts - 1):
                if result.status == "done":
                    self._cold_start(result, request)
        except UnavailableError as error:
            result.status, result.reason = "missing", str(error)
        except BenchmarkError as error:
            result.status, result.reason = "failed", str(error)
        except KeyboardInterrupt:
            result.status, result.reason = "interrupted", "stopped by the user"
            raise
        finally:
            result.load_after = load_average()
        if result.status != "done":
            result.reason = without_folders(result.reason)[:MAX_TEXT]
            self.progress(f"  {result.status}: {result.reason}")
        return result

    def _take(self, result: Result, answer: dict[str, Any]) -> None:
        if "phase" in answer:
            phase = phase_of(answer["phase"])
            result.phases.append(phase)
            self.progress(f"  {describe(phase)}")
        elif "starting" in answer:
            self.progress(f"  {answer['starting']} ...")
        elif "device" in answer:
            result.device = answer["device"]
        elif "board" in answer:
            result.boards.append(answer["board"])
        elif "missing" in answer:
            result.status = "missing"
            said = [answer["missing"], answer["detail"]]
            result.reason = ": ".join(dict.fromkeys(said))
        elif "failed" in answer:
            result.status, result.reason = "failed", answer["failed"]

    def _cold_start(self, result: Result, request: Request) -> None:
        """Add one sample of a fresh process to import, load and first run."""
        with Worker(self.plan.log) as worker:
            for answer in worker.measure(request, "cold"):
                if "phase" not in answer:
                    continue
                more = phase_of(answer["phase"])
                for index, phase in enumerate(result.phases):
                    if phase.key == more.key:
                        result.phases[index] = replace(
                            phase,
                            samples_seconds=phase.samples_seconds + more.samples_seconds,
                            cpu_seconds=phase.cpu_seconds + more.cpu_seconds,
                        )

    def _alternate(self, model: Model, pair: tuple[Choice, Choice], threads: int | None) -> None:
        """Measure two live processes in turn: A B A B."""
        first, second = pair
        self.progress(f"{model.name} {model.image_size} px: {first} versus {second}")
        with Worker(self.plan.log) as one, Worker(self.plan.log) as other:
            for worker, choice in ((one, first), (other, second)):
                try:
                    request = self._request(model, choice, threads, None)
                except UnavailableError as error:
                    raise BenchmarkError(f"{choice}: {error}") from error
                for answer in worker.measure(request, "open"):
                    if "missing" in answer or "failed" in answer:
                        reason = answer.get("detail") or answer["failed"]
                        raise BenchmarkError(f"{choice}: {reason}")
            for name, prompts in (("encode", None), *(("decode", n) for n in self.plan.prompts)):
                self._pairs(model, pair, threads, (one, other), name, prompts)

    def _pairs(
        self,
        model: Model,
        pair: tuple[Choice, Choice],
        threads: int | None,
        workers: tuple[Worker, Worker],
        name: str,
        prompts: int | None,
    ) -> None:
        settings = self.plan.settings
        pairs: list[tuple[float, float]] = []
        try:
            while len(pairs) < settings.repeats and (
                len(pairs) < max(3, settings.min_repeats)
                or sum(map(sum, pairs)) < 2 * settings.budget_seconds
            ):
                first, second = (worker.sample(name, prompts) for worker in workers)
                for answer in (first, second):
                    if "phase" not in answer:
                        raise BenchmarkError(str(answer.get("failed", answer)))
                pairs.append(
                    (
                        first["phase"]["samples_seconds"][0],
                        second["phase"]["samples_seconds"][0],
                    )
                )
        finally:
            if pairs:
                self.record.versus.append(
                    Versus(
                        str(pair[0]),
                        str(pair[1]),
                        model.name,
                        threads,
                        self._work(model),
                        name,
                        prompts,
                        tuple(pairs),
                    )
                )
                write_record(self.record, self.output)
        self.progress(f"  {name} {prompts or ''}: {len(pairs)} pairs")


def phase_of(values: dict[str, Any]) -> Phase:
    """Turn a worker's answer into a phase."""
    return Phase(**{**values, "samples_seconds": tuple(values["samples_seconds"])})


def describe(phase: Phase) -> str:
    """Say one phase in a line of progress."""
    median = float(np.median(phase.samples_seconds)) * 1000
    prompts = "" if phase.prompts is None else f" ({phase.prompts} prompts)"
    return f"{phase.name}{prompts}: {median:.4g} ms, {len(phase.samples_seconds)} samples"


def mask_ious(reference: NDArray[np.uint8], masks: NDArray[np.uint8]) -> list[float]:
    """Return the IoU of every mask with the reference's, from packed bits.

    Two empty masks agree: 1.

    >>> mask_ious(np.array([[[0b1100]]], np.uint8), np.array([[[0b0100]]], np.uint8))
    [0.5]
    """
    both = np.bitwise_count(reference & masks).sum(axis=-1, dtype=np.int64)
    either = np.bitwise_count(reference | masks).sum(axis=-1, dtype=np.int64)
    ious = np.divide(both, either, out=np.ones(both.shape), where=either > 0)
    return [round(float(value), 6) for value in ious.ravel()]


def without_folders(text: str) -> str:
    r"""Leave of the paths in an error their last part: a record is for others to read.

    >>> without_folders("openvino cannot open /home/me/my model/encoder.onnx: bad")
    'openvino cannot open encoder.onnx: bad'
    >>> without_folders(r"no C:\Users\me\encoder.onnx; see https://example.org/a/b")
    'no encoder.onnx; see https://example.org/a/b'
    """
    return re.sub(r"(?<![\w/:])(?:[A-Za-z]:)?[/\\](?:[^/\\:\n]*[/\\])+", "", text)
