import pytest

torch = pytest.importorskip("torch")

from sam_edge_export.modules.nano_encoder import NanoEncoder  # noqa: E402


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return NanoEncoder().eval()


@pytest.mark.parametrize(("height", "width"), [(64, 64), (128, 256), (256, 192)])
def test_encoder_takes_any_multiple_of_64(encoder, height, width):
    with torch.inference_mode():
        out = encoder(torch.zeros(2, 3, height, width))
    assert out.shape == (2, 256, height // 16, width // 16)


def test_encoder_fits_the_checkpoint(encoder):
    """16 MB in float16, with the decoder's four million."""
    assert sum(p.numel() for p in encoder.parameters()) <= 3_900_000


def test_encoder_holds_no_table_of_image_size(encoder):
    """No side of any weight is a token count of a common image size."""
    grids = {side // 16 for side in (384, 512, 1024)} | {1024, 4096}
    for name, value in encoder.state_dict().items():
        assert not (value.ndim >= 3 and grids & set(value.shape[2:])), name


def test_pictures_of_a_batch_do_not_mix(encoder):
    first, second = torch.randn(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        together = encoder(torch.cat([first, second]))
        alone = encoder(first)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


def test_a_far_corner_changes_the_embedding(encoder):
    """Attention at stride 32 sees the whole picture."""
    image = torch.zeros(1, 3, 256, 256)
    changed = image.clone()
    changed[..., -16:, -16:] = 3
    with torch.inference_mode():
        difference = (encoder(changed) - encoder(image)).abs()
    assert difference[0, :, 0, 0].max() > 0


def test_every_pixel_of_the_embedding_is_normalised(encoder):
    with torch.inference_mode():
        out = encoder(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)))
    torch.testing.assert_close(out.mean(1), torch.zeros(1, 4, 4), atol=1e-4, rtol=0)
