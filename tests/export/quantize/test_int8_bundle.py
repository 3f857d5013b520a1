"""int8 bundles: their gates, their manifest, the same masks every time."""

import json

import numpy as np
import onnx
import pytest
from conftest import textured

from sam_edge import load_model
from sam_edge.bundle import read_spec
from sam_edge.cli import main
from sam_edge.errors import EngineError
from sam_edge_export.pipeline import export_bundle
from sam_edge_export.quantize import gate
from sam_edge_export.quantize.encoder import fewest_floats, sensitive_first, source
from sam_edge_export.quantize.gate import Int8
from sam_edge_export.quantize.recipes import RECIPES
from sam_edge_runtimes import ENGINES, formats_of, open_session


@pytest.fixture(scope="module")
def bundle(nano_checkpoint, tmp_path_factory):
    """``allow_slow``: what is tested here is right on a machine of any speed."""
    output = tmp_path_factory.mktemp("int8") / "nano"
    export_bundle(
        nano_checkpoint,
        output,
        image_size=256,
        precision="int8",
        min_iou=0,
        int8=Int8(allow_slow=True),
    )
    return output


def test_an_engine_has_a_file_and_the_manifest_says_how_it_was_made(bundle):
    recipe = json.loads((bundle / "manifest.json").read_text())["quantization"]
    assert recipe["min_iou"] == 0
    assert recipe["weight_bits"] in (7, 8)
    assert recipe["calibration"]["count"] == 8
    assert len(recipe["calibration"]["sha256"]) == 64
    spec = read_spec(bundle)
    for engine in ENGINES:
        entry = recipe["engines"][engine]
        assert entry["products"] > 0
        assert entry["speedup_over_fp32"] is None  # not timed, and said so
        file = spec.graph("image_encoder", engine).file
        assert engine in file
        kinds = {node.op_type for node in onnx.load(bundle / file).graph.node}
        assert kinds & {"MatMulInteger", "QuantizeLinear"}
    assert {entry["engine"] for entry in spec.fidelity} == set(ENGINES)


def test_info_says_it_to_people(bundle, capsys):
    assert main(["info", str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "openvino: convolutions" in said
    assert "drawn scenes" in said


@pytest.mark.parametrize("engine", ENGINES)
def test_masks_are_the_same_on_every_run_and_thread_count(bundle, engine):
    photo = textured(200, 300)
    points = [(40, 50), (150, 100), (250, 150)]
    masks = {}
    for threads in (1, 2):
        model = load_model(bundle, runtime=engine, threads=threads, cache=False)
        first, second = model.encode_image(photo), model.encode_image(photo)
        assert np.array_equal(
            first.features["image_embeddings"], second.features["image_embeddings"]
        )
        masks[threads] = np.stack([model.decode(first, [point]).masks for point in points])
    assert (masks[1] == masks[2]).mean() >= 0.9999


@pytest.mark.skipif("float16" not in formats_of("openvino"), reason="no AVX512-FP16 here")
def test_a_format_that_8_bit_products_would_take_hours_in_is_refused(tmp_path):
    graph = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 17]>
        eight (float[1, 64, 64] x) => (float[1, 64, 64] y)
        <float scale = {0.02}, uint8 middle = {128}, int8 zero = {0}, int64[2] shape = {64, 64}>
        {
            rounded = QuantizeLinear (x, scale, middle)
            x_8 = DequantizeLinear (rounded, scale, middle)
            weights = ConstantOfShape <value = int8[1] {3}> (shape)
            w_8 = DequantizeLinear (weights, scale, zero)
            z = MatMul (x_8, w_8)
            y = Erf (z)
        }""")
    path = tmp_path / "eight.onnx"
    onnx.save(graph, path)
    open_session("openvino", path, compute="bfloat16")
    with pytest.raises(EngineError, match="no fast float16 kernel on this CPU for 1 of the"):
        open_session("openvino", path, compute="float16")


def test_a_cpu_that_saturates_is_refused_8_bit_weights_and_takes_7(
    bundle, nano_checkpoint, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("sam_edge.loading.saturates_here", lambda: True)
    if read_spec(bundle).quantization["weight_bits"] == 8:
        with pytest.raises(EngineError, match="--target x86-64"):
            load_model(bundle)
    # --target is for another machine, so nothing is timed, and the manifest says that
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "old"), "--image-size", "256"]
    command += ["--precision", "int8", "--min-iou", "0", "--target", "x86-64"]
    assert main([*command, "--engine", "onnxruntime"]) == 0
    recipe = read_spec(tmp_path / "old").quantization
    assert (recipe["weight_bits"], recipe["target"]) == (7, "x86-64")
    assert recipe["engines"]["onnxruntime"]["speedup_over_fp32"] is None
    assert recipe["calibration"] is None  # this engine's recipe measures ranges at run time
    assert main(["info", str(tmp_path / "old")]) == 0
    assert "7-bit weights, ranges measured at run time" in capsys.readouterr().out
    model = load_model(tmp_path / "old", cache=False)
    assert model.engine == "onnxruntime"  # the only engine that the bundle is for
    assert model.decode(model.encode_image(textured(90, 120)), [(20, 20)]).masks.shape[0] == 3


def test_gates_write_nothing_when_they_close(nano_checkpoint, tmp_path, monkeypatch, capsys):
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--image-size", "256"]
    command += ["--precision", "int8", "--engine", "onnxruntime"]
    monkeypatch.setattr(gate, "speedup", lambda *_: 0.5)
    assert main([*command, "--min-iou", "0"]) == 1
    assert "int8 takes 2.00 times as long as float32 here, on onnxruntime" in (
        capsys.readouterr().err
    )
    assert main([*command, "--allow-slow", "--min-iou", "1.01"]) == 1
    assert "mask_iou_mean" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        (["--no-verify"], 2, "--precision int8 is proved by its masks"),
        (["--decoder", "official"], 2, "--precision int8 is proved by its masks"),
        (["--recipe", "magic"], 2, "--recipe magic: onnxruntime has linears"),
        (["--target", "toaster"], 2, "--target toaster: expected one of here, x86-64-vnni"),
        (["--calibration", "/nowhere"], 1, "is not a folder"),
    ],
)
def test_what_int8_cannot_do_is_said_at_once(nano_checkpoint, tmp_path, wrong, code, said, capsys):
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--precision", "int8"]
    assert main([*command, *wrong]) == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_int8s_wishes_are_refused_elsewhere_and_bundles_are_not_checkpoints(
    nano_checkpoint, bundle, tmp_path, capsys
):
    command = ["export", str(nano_checkpoint), "-o", str(tmp_path / "out"), "--recipe", "linears"]
    assert main(command) == 2
    assert "belong to --precision int8" in capsys.readouterr().err
    assert main(["export", str(bundle), "-o", str(tmp_path / "out"), "--precision", "int8"]) == 1
    assert "is a bundle already, int8; name the checkpoint" in capsys.readouterr().err


def test_weights_stored_in_8_bits_are_smaller_than_half_and_run_anywhere(nano_checkpoint, tmp_path):
    sizes = {}
    for precision in ("fp16", "int8-weights"):
        export_bundle(
            nano_checkpoint, tmp_path / precision, image_size=256, precision=precision, min_iou=0
        )
        spec = read_spec(tmp_path / precision)
        sizes[precision] = sum(graph.size_bytes for graph in spec.graphs)
        exact = [entry for entry in spec.fidelity if not entry["compute"]]
        errors = {entry["engine"]: entry["embedding_rel_l2"] for entry in exact}
        assert set(errors) == set(ENGINES)
        assert max(errors.values()) < 0.02
    assert sizes["int8-weights"] < 0.8 * sizes["fp16"]


def test_the_most_sensitive_products_are_found_and_stay_float(nano_checkpoint, tmp_path):
    from sam_edge_export import trace
    from sam_edge_export.load import load_checkpoint
    from sam_edge_export.manifest import blank
    from sam_edge_export.quantize.calibrate import dead_leaves
    from sam_edge_export.quantize.recipes import candidates

    sam, _ = load_checkpoint(nano_checkpoint, "auto", 256)
    spec = blank(sam, nano_checkpoint, "int8", "native")
    recipe = next(r for r in RECIPES if r.engine == "openvino" and r.name == "convolutions")
    graph = trace.traced(trace.encoder(sam), tmp_path)
    made_from = source(
        graph, spec, [dead_leaves(0)], "a scene", "here", tmp_path, progress=lambda _: None
    )
    spoiled = candidates(graph, recipe)[-1]
    low, high = made_from.ranges[spoiled.source]
    made_from.ranges[spoiled.source] = (0.02 * low, 0.02 * high)
    order = sensitive_first(made_from, recipe, tmp_path, lambda _: None)
    assert sorted(order) == sorted(product.name for product in candidates(graph, recipe))
    assert spoiled.name in order[:2]  # neighbours are measured together


def test_the_search_asks_few_questions_and_keeps_few_floats():
    order = [f"product {index}" for index in range(64)]
    asked = []

    def passes(needed):
        def judge(floats):
            asked.append(len(floats))
            return len(floats) >= needed

        return judge

    for needed in (1, 5, 40, 64):
        asked.clear()
        floats = fewest_floats(order, passes(needed))
        assert needed <= len(floats) <= needed + 4
        assert list(floats) == order[: len(floats)]
        assert len(asked) <= 6
    assert fewest_floats(order, lambda floats: False) is None
