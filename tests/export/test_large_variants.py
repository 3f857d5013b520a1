"""ViT-L and ViT-H at full size, against the official encoder; minutes and many gigabytes."""

import numpy as np
import pytest
import torch

import sam_edge
from sam_edge.bundle import read_spec
from sam_edge.fidelity import relative_l2
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.seeded import seeded_checkpoint

ENGINES = ("onnxruntime", "openvino")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["vit_l", "vit_h"])
def test_large_bundles_give_the_official_embedding(variant, tmp_path, photos):
    from segment_anything import SamPredictor, sam_model_registry

    checkpoint = seeded_checkpoint(variant, 1024, 0, tmp_path / f"seeded_{variant}.pth")
    bundle = tmp_path / variant
    export_bundle(checkpoint, bundle, verify=False)
    (encoder, _) = read_spec(bundle).graphs
    assert bool(encoder.external_data) == (variant == "vit_h")
    sam = sam_model_registry[variant]()
    sam.load_state_dict(torch.load(checkpoint, weights_only=True), strict=False)
    official = SamPredictor(sam.eval())
    photo = photos["landscape"]
    official.set_image(photo)
    truth = official.get_image_embedding().numpy()
    point = np.array([[200.0, 300.0]])
    masks, scores, _ = official.predict(point, np.array([1]))
    del sam, official
    for engine in ENGINES:
        predictor = sam_edge.SamPredictor(sam_edge.load_model(bundle, runtime=engine))
        predictor.set_image(photo)
        assert relative_l2(predictor.get_image_embedding(), truth) <= 1e-5, engine
        ours, our_scores, _ = predictor.predict(point, np.array([1]))
        assert np.abs(our_scores - scores).max() <= 1e-3, engine
        assert np.count_nonzero(ours == masks) >= 0.9999 * masks.size, engine
