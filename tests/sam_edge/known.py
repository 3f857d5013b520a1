"""A spec for models whose sessions are functions of the test's own."""

from sam_edge.spec import ModelSpec, Source

IMAGE_SIZE = 256

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
