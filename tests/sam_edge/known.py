"""What tests start from: the engines that are here, the box's checkpoint, a spec of their own."""

from pathlib import Path

from sam_edge.spec import ModelSpec, Source
from sam_edge_runtimes import ENGINES, MissingDependencyError, choose_engine

IMAGE_SIZE = 256

NANO_CHECKPOINT = Path(__file__).parents[2] / "export" / "training" / "nano.safetensors"

SPEC = ModelSpec(
    variant="nano",
    image_size=IMAGE_SIZE,
    pixel_mean=(123.675, 116.28, 103.53),
    pixel_std=(58.395, 57.12, 57.375),
    mask_threshold=0.0,
    precision="fp32",
    decoder="native",
    opset=17,
    graphs=(),
    source=Source("known.pth", "0" * 64, "Apache-2.0"),
    exporter={},
)


def _installed(engine):
    try:
        choose_engine(engine)
    except MissingDependencyError:
        return False
    return True


INSTALLED = tuple(filter(_installed, ENGINES))
