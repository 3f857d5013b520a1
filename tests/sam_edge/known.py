"""What tests start from: the engines that are here, the box's checkpoint, a spec of their own."""

from pathlib import Path

import sam_edge
from sam_edge.spec import ROLES, ImageSpec, ModelSpec, Source
from sam_edge_runtimes import ENGINES, MissingDependencyError, choose_engine
from sam_edge_runtimes.fake import FakeSession

IMAGE_SIZE = 256

NANO_CHECKPOINT = Path(__file__).parents[2] / "export" / "training" / "nano.safetensors"

SPEC = ModelSpec(
    variant="nano",
    image=ImageSpec(IMAGE_SIZE, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    precision="fp32",
    decoder="native",
    opset=17,
    graphs=(),
    source=Source("known.pth", "0" * 64, "Apache-2.0"),
    exporter={},
)


def model_of(encode, decode, spec=SPEC):
    """A model whose sessions answer from functions, or are sessions already."""
    sessions = (
        answer if isinstance(answer, FakeSession) else FakeSession(answer)
        for answer in (encode, decode)
    )
    return sam_edge.Model(spec, dict(zip(ROLES, sessions, strict=True)), engine="fake")


def _installed(engine):
    try:
        choose_engine(engine)
    except MissingDependencyError:
        return False
    return True


INSTALLED = tuple(filter(_installed, ENGINES))
