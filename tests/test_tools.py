"""The models that are shipped, and the tools that made them."""

import csv
import gc
import hashlib
import importlib
import json
import subprocess
import tomllib
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from bioimageio.spec import load_description
from bioimageio.spec.model.v0_5 import ModelDescr
from networks import blur
from skimage import io

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
DOMAINS = {
    "brightfield": "nuc_dsb_brightfield",
    "cfos_wue1": "nuc_cfos_wue1",
    "fibro": "nuc_dsb_fibro",
    "large360": "nuc_dsb_large360",
    "stain_lilac": "nuc_dsb_stain_lilac",
    "u2os_dense": "nuc_dsb_u2os_dense",
}
OBJECT_DOMAINS = {
    "cfos_wue1": "nuc_cfos_wue1",
    "clustered": "nuc_dsb_clustered",
    "fibro": "nuc_dsb_fibro",
    "large360": "nuc_dsb_large360",
    "stain_lilac": "nuc_dsb_stain_lilac",
    "u2os_dense": "nuc_dsb_u2os_dense",
}
NUCLEI = [MODELS / "nuclei" / name for name in DOMAINS]
OBJECTS = [MODELS / "nuclei_instances" / name for name in OBJECT_DOMAINS]
BANKS = [NUCLEI, OBJECTS]
FILES = {"README.md", "bioimageio.yaml", "test_input.npy", "test_output.npy", "weights.onnx"}
LARGEST_FOLDER = 2_000_000

every_model = pytest.mark.parametrize(
    "folder", NUCLEI + OBJECTS, ids=lambda path: f"{path.parent.name}-{path.name}"
)


@pytest.fixture
def tool(monkeypatch):
    """Imports a module of tools/ as it is imported when run as a script."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return importlib.import_module


@pytest.fixture
def torch_tool(tool):
    """The same for modules that need torch; what they set in torch is put back."""
    torch = pytest.importorskip("torch")
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield tool
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def channels_of(folder: Path) -> list[str]:
    """What the output of a model of the bank says of each pixel."""
    return ["foreground", "boundary"] if folder in OBJECTS else ["foreground"]


def domain_of(folder: Path) -> str:
    return (OBJECT_DOMAINS if folder in OBJECTS else DOMAINS)[folder.name]


def index_rows():
    with (MODELS / "index.csv").open(newline="") as table:
        return list(csv.DictReader(table))


def description(folder: Path) -> ModelDescr:
    with warnings.catch_warnings():
        # bioimageio.spec leaves the files it checks to the garbage collector.
        warnings.filterwarnings("ignore", "unclosed file", ResourceWarning)
        loaded = load_description(folder)
        gc.collect()
    assert isinstance(loaded, ModelDescr), loaded.validation_summary
    return loaded


def apply(steps, tensor):
    """The few steps that these models declare, by hand."""
    for step in steps:
        if step.id == "ensure_dtype":
            tensor = tensor.astype(step.kwargs.dtype)
        elif step.id == "scale_range":
            assert sorted(step.kwargs.axes) == ["channel", "x", "y"]
            low = np.percentile(tensor, step.kwargs.min_percentile, axis=(1, 2, 3), keepdims=True)
            high = np.percentile(tensor, step.kwargs.max_percentile, axis=(1, 2, 3), keepdims=True)
            tensor = (tensor - low) / (high - low + step.kwargs.eps)
        elif step.id == "sigmoid":
            tensor = (1 + np.tanh(tensor / 2)) / 2  # does not overflow
        else:
            raise AssertionError(f"unexpected step {step.id}")
    return tensor


def run_onnx(folder: Path, tensor):
    session = onnxruntime.InferenceSession(
        folder / "weights.onnx", providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: tensor})[0]


def test_the_bank_is_complete():
    for bank in BANKS:
        found = {path.parent for path in bank[0].parent.glob("*/bioimageio.yaml")}
        assert found == set(bank)


def test_the_index_lists_every_file_with_its_hash_and_size():
    rows = index_rows()
    on_disk = {
        path.relative_to(MODELS).as_posix()
        for folder in NUCLEI + OBJECTS
        for path in folder.iterdir()
    }
    assert {row["file"] for row in rows} == on_disk
    assert len(rows) == len(on_disk)
    for row in rows:
        content = (MODELS / row["file"]).read_bytes()
        assert len(content) == int(row["size"]), row["file"]
        assert hashlib.sha256(content).hexdigest() == row["sha256"], row["file"]


def test_the_index_names_licence_and_source_of_every_model():
    origins = tomllib.loads((MODELS / "origins.toml").read_text())
    for row in index_rows():
        folder = (MODELS / row["file"]).parent
        assert row["name"] == folder.name
        origin = origins[domain_of(folder)]
        assert (row["licence"], row["source"]) == (origin["licence"], origin["origin"])
        assert row["licence"] in {"CC0-1.0", "MIT", "Apache-2.0"}


@every_model
def test_a_folder_holds_what_it_should_and_is_small(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    assert sum(path.stat().st_size for path in folder.iterdir()) <= LARGEST_FOLDER


@every_model
def test_the_zoo_accepts_the_description(folder):
    loaded = description(folder)
    (image,), (foreground,) = loaded.inputs, loaded.outputs
    assert [step.id for step in image.preprocessing] == [
        "ensure_dtype",
        "scale_range",
        "ensure_dtype",
    ]
    assert [axis.type for axis in image.axes] == ["batch", "channel", "space", "space"]
    assert foreground.axes[1].channel_names == channels_of(folder)
    for axis in foreground.axes[2:]:
        assert 0 < 2 * axis.halo < image.axes[2].size.min
    warned = {
        entry.loc[-1] for detail in loaded.validation_summary.details for entry in detail.warnings
    }
    # A sample image would have to be a real one.
    assert warned <= {"sample_tensor"}


@pytest.mark.parametrize("bank", BANKS, ids=lambda bank: bank[0].parent.name)
def test_both_places_of_the_sigmoid_are_exercised(bank):
    declared = {
        folder.name: any(s.id == "sigmoid" for s in description(folder).outputs[0].postprocessing)
        for folder in bank
    }
    in_graph = {
        folder.name: "Sigmoid" in {n.op_type for n in onnx.load(folder / "weights.onnx").graph.node}
        for folder in bank
    }
    assert sum(declared.values()) == sum(in_graph.values()) == 3
    assert all(declared[name] != in_graph[name] for name in declared)


def test_the_models_of_objects_share_one_decoder_and_the_others_name_none():
    entries = []
    for folder in OBJECTS:
        # As the package's reader finds it: what the zoo does not know of stays in the description.
        config = description(folder).config.model_dump()
        entries.append(config["decoder"])
    shared = {"name": "foreground_boundary", "min_size": 20, "connectivity": "full"}
    assert entries == [shared] * len(OBJECTS)
    for folder in NUCLEI:
        assert "decoder" not in description(folder).config.model_dump()


def test_the_built_banks_are_ignored():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    place = "models/built/cells/name/weights.onnx"
    found = subprocess.run(["git", "check-ignore", place], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.strip() == place


@every_model
def test_the_test_tensors_are_reproduced(folder):
    loaded = description(folder)
    image, expected = np.load(folder / "test_input.npy"), np.load(folder / "test_output.npy")
    tensor = apply(loaded.inputs[0].preprocessing, image)
    found = apply(loaded.outputs[0].postprocessing, run_onnx(folder, tensor))
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    # A constant output would be reproduced by many wrong readings of the model.
    assert expected.shape[1] == len(channels_of(folder))
    assert (expected.min(axis=(0, 2, 3)) < 0.1).all()
    assert (expected.max(axis=(0, 2, 3)) > 0.9).all()
    unscaled = apply(loaded.outputs[0].postprocessing, run_onnx(folder, image))
    assert np.abs(unscaled - expected).max() > 0.01


@every_model
def test_the_test_image_is_simulated_and_no_crop_of_real_data(folder, tool):
    zoo_folder = tool("zoo_folder")
    origin = zoo_folder.read_origin(MODELS / "origins.toml", domain_of(folder))
    difference = np.abs(zoo_folder.simulate(origin) - np.load(folder / "test_input.npy"))
    # Rounding to grey values may fall otherwise with another SciPy.
    assert difference.max() <= 1


@every_model
def test_batch_and_size_are_free(folder):
    channels = len(description(folder).inputs[0].axes[1].channel_names)
    rng = np.random.default_rng(0)
    for height, width in [(64, 64), (256, 320)]:
        images = rng.random((2, channels, height, width), dtype=np.float32)
        both = run_onnx(folder, images)
        assert both.shape == (2, len(channels_of(folder)), height, width)
        np.testing.assert_allclose(both[1:], run_onnx(folder, images[1:]), atol=1e-4)


def test_the_weights_are_one_file_of_a_stated_opset():
    for folder in NUCLEI + OBJECTS:
        model = onnx.load(folder / "weights.onnx", load_external_data=False)
        assert not any(tensor.external_data for tensor in model.graph.initializer)
        (opset,) = [entry.version for entry in model.opset_import if entry.domain == ""]
        assert opset == description(folder).weights.onnx.opset_version


def test_an_unknown_origin_is_refused(tool, tmp_path):
    table = tmp_path / "origins.toml"
    table.write_text("[a]\n[b]\n")
    with pytest.raises(SystemExit, match=r"no entry \[c\]; there are: a, b\. Add one"):
        tool("zoo_folder").read_origin(table, "c")


def test_the_index_replaces_the_rows_of_one_model(tool, tmp_path):
    update = tool("zoo_folder").update_index
    origin = {"licence": "CC0-1.0", "origin": "https://example.org"}
    index = tmp_path / "index.csv"
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.onnx").write_bytes(b"one")
        update(index, tmp_path / name, name, origin)
    (tmp_path / "b" / "weights.onnx").write_bytes(b"three")
    update(index, tmp_path / "b", "b", origin)
    # A model of that name in another bank is another model.
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "weights.onnx").write_bytes(b"four")
    update(index, tmp_path / "other" / "a", "a", origin)
    assert index.read_text().splitlines() == [
        "name,file,sha256,size,licence,source",
        f"a,a/weights.onnx,{hashlib.sha256(b'one').hexdigest()},3,CC0-1.0,https://example.org",
        f"b,b/weights.onnx,{hashlib.sha256(b'three').hexdigest()},5,CC0-1.0,https://example.org",
        f"a,other/a/weights.onnx,{hashlib.sha256(b'four').hexdigest()},4,CC0-1.0,https://example.org",
    ]


def draw(augmentation: ModuleType, planes, seed=0, **changed):
    options = {"count": 16, "size": 8, "foreground_chance": 0.5, "grey_chance": 0.5}
    return augmentation.draw_batch(planes, np.random.default_rng(seed), **{**options, **changed})


def test_crops_and_targets_are_turned_together(tool, monkeypatch):
    augmentation = tool("augmentation")
    monkeypatch.setattr(augmentation, "disturb", lambda image, rng: image)
    foreground = np.random.default_rng(1).random((12, 20)) > 0.5
    plane = augmentation.Plane((foreground[None].astype(np.float32),), foreground[None])
    images, targets = draw(augmentation, [plane])
    assert images.shape == targets.shape == (16, 1, 8, 8)
    np.testing.assert_array_equal(images, targets)
    assert len({crop.tobytes() for crop in targets}) > 8


def test_all_targets_are_turned_alike(tool, monkeypatch):
    augmentation = tool("augmentation")
    monkeypatch.setattr(augmentation, "disturb", lambda image, rng: image)
    targets = np.random.default_rng(1).random((2, 12, 20)) > 0.5
    plane = augmentation.Plane((targets.astype(np.float32),), targets)
    images, found = draw(augmentation, [plane])
    assert found.shape == (16, 2, 8, 8)
    np.testing.assert_array_equal(images, found)
    np.testing.assert_array_equal(plane.foreground, targets[0])


def picture(text: str) -> np.ndarray:
    """A label image, a digit a pixel."""
    return np.array([[int(digit) for digit in row] for row in text.split()])


TWO_OBJECTS = picture("""
    000000
    011220
    011220
    011220
    011220
    000000
""")


def test_foreground_and_boundary_by_hand(tool):
    targets = tool("targets")
    foreground, boundary = targets.object_targets(TWO_OBJECTS, outline=1)
    np.testing.assert_array_equal(foreground, TWO_OBJECTS > 0)
    # Nothing of a 2 x 4 object lies inside its outline; only corners touch no other label.
    np.testing.assert_array_equal(
        boundary,
        picture("""
            011110
            111111
            111111
            111111
            111111
            011110
        """),
    )
    large = np.zeros((9, 9), np.uint16)
    large[1:, 1:] = 7
    thin, wide = (targets.outlines(large, width) for width in (1, 2))
    for mark, inside in [(thin, 2), (wide, 3)]:
        # The border of the image, at the lower right, is no outline.
        assert not mark[inside:, inside:].any()
        assert mark[1:inside, 1:].all()
        assert mark[1:, 1:inside].all()
    assert thin[0, 1:].all()
    assert not thin[0, 0]  # it shares no edge with the object
    assert wide[0].all()


def test_a_drawn_boundary_is_taken_as_it_is(tool):
    targets = tool("targets")
    drawn = np.eye(6, dtype=bool)
    foreground, boundary = targets.object_targets(TWO_OBJECTS, drawn)
    np.testing.assert_array_equal(foreground, TWO_OBJECTS > 0)
    np.testing.assert_array_equal(boundary, drawn)
    with pytest.raises(ValueError, match=r"boundary: found shape \(5, 6\), expected .* \(6, 6\)"):
        targets.object_targets(TWO_OBJECTS, drawn[:5])


def test_without_objects_there_is_no_target_and_no_outline_without_width(tool):
    targets = tool("targets")
    assert not targets.object_targets(np.zeros((6, 6), np.uint16)).any()
    # One object all over the image has no outline.
    np.testing.assert_array_equal(
        targets.object_targets(np.ones((6, 6), np.uint16)).mean(axis=(1, 2)), [1, 0]
    )
    with pytest.raises(ValueError, match="outline: found 0 pixels, expected 1 or more"):
        targets.object_targets(TWO_OBJECTS, outline=0)


def test_crops_seek_the_foreground_as_often_as_asked(tool):
    augmentation = tool("augmentation")
    foreground = np.zeros((200, 200), bool)
    foreground[3, 196] = True
    plane = augmentation.Plane((np.zeros((1, 200, 200), np.float32),), foreground[None])
    always = draw(augmentation, [plane], foreground_chance=1.0)[1]
    never = draw(augmentation, [plane], foreground_chance=0.0)[1]
    assert always.sum() == 16
    assert never.sum() < 3


def test_colour_is_shown_grey_as_often_as_asked(tool):
    augmentation = tool("augmentation")
    foreground = np.zeros((8, 8), bool)
    colour, grey = np.zeros((3, 8, 8), np.float32), np.full((3, 8, 8), 100, np.float32)
    plane = augmentation.Plane((colour, grey), foreground[None])
    for chance, expected in [(0.0, 0), (1.0, 16)]:
        images = draw(augmentation, [plane], grey_chance=chance)[0]
        assert (images.mean(axis=(1, 2, 3)) > 10).sum() == expected


def test_disturbing_is_seeded_and_changes_a_copy(tool):
    disturb = tool("augmentation").disturb
    image = np.linspace(-0.1, 1.2, 64, dtype=np.float32).reshape(1, 8, 8)
    before = image.copy()
    first = disturb(image, np.random.default_rng(5))
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(first, disturb(image, np.random.default_rng(5)))
    assert first.dtype == np.float32
    assert np.abs(first - disturb(image, np.random.default_rng(6))).max() > 1e-3


def make_domain(folder: Path) -> Path:
    """Six simulated images whose sides are no multiple of anything useful."""
    rng = np.random.default_rng(0)
    rows = ["stem,group,split"]
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(6):
        stem = f"{number:03d}"
        label = np.zeros((45, 51), np.uint16)
        label[5 + number : 25, 8:30] = 1
        image = (200 * (label > 0) + rng.integers(0, 40, label.shape)).astype(np.uint8)
        io.imsave(folder / "images" / f"{stem}.png", image, check_contrast=False)
        io.imsave(folder / "labels" / f"{stem}.png", label, check_contrast=False)
        rows.append(f"{stem},g{number // 2},{'test' if number > 3 else 'train'}")
    (folder / "split.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning",
    "ignore:The feature will be removed:DeprecationWarning",
    "ignore:unclosed file:ResourceWarning",
)
def test_a_tiny_network_is_trained_and_exported_twice_alike(torch_tool, tmp_path, capsys):
    train, export = torch_tool("train_unet"), torch_tool("export_torch")
    domain = make_domain(tmp_path / "nuc_dsb_fibro")
    recipe = ["--steps", "3", "--features", "4", "8", "--crop", "32", "--threads", "1"]
    for run, sigmoid in [("a", "zoo"), ("b", "zoo"), ("c", "graph")]:
        train.main([str(domain), str(tmp_path / run), *recipe])
        export.main(
            [
                str(tmp_path / run / "checkpoint.pt"),
                str(tmp_path / "bank" / run / "tiny"),
                *("--sigmoid", sigmoid, "--index", str(tmp_path / "bank" / "index.csv")),
            ]
        )
    gc.collect()  # while unclosed files are still forgiven
    for name in FILES:
        first, second = (tmp_path / "bank" / run / "tiny" / name for run in "ab")
        assert first.read_bytes() == second.read_bytes(), name
    report = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert report["judged_on"] == "test"
    assert (report["train_images"], report["judged_images"]) == (4, 2)
    assert set(report["images"]) == {"004", "005"}
    printed = capsys.readouterr().out
    assert "tiny: (2, 1, 128, 128): largest |torch - onnxruntime|" in printed
    for run in "ac":
        folder = tmp_path / "bank" / run / "tiny"
        loaded = description(folder)
        tensor = apply(loaded.inputs[0].preprocessing, np.load(folder / "test_input.npy"))
        found = apply(loaded.outputs[0].postprocessing, run_onnx(folder, tensor))
        np.testing.assert_allclose(found, np.load(folder / "test_output.npy"), atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning",
    "ignore:The feature will be removed:DeprecationWarning",
    "ignore:unclosed file:ResourceWarning",
)
@pytest.mark.parametrize(("sigmoid", "boundary"), [("zoo", "outline"), ("graph", "labels")])
def test_a_tiny_network_of_objects_is_trained_and_exported(
    torch_tool, tmp_path, capsys, sigmoid, boundary
):
    train, export = torch_tool("train_unet"), torch_tool("export_torch")
    domain = make_domain(tmp_path / "nuc_dsb_fibro")
    recipe = ["--steps", "3", "--features", "4", "8", "--crop", "32", "--threads", "1"]
    recipe += ["--objects", "--boundary", boundary, "--min-size", "12", "--share", "0.5"]
    recipe += ["--connectivity", "face"]
    train.main([str(domain), str(tmp_path / "out"), *recipe])
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    decoder = {"name": "foreground_boundary", "min_size": 12, "connectivity": "face"}
    assert (report["train_images"], report["judged_images"]) == (2, 2)
    assert report["decoder"] == decoder
    assert set(report["object_images"]) == set(report["images"]) == {"004", "005"}
    assert set(report["objects"]) == {"map", "f1_50"}
    assert set(report["boundary"]) == {"mean", "median", "pooled"}
    folder = tmp_path / "bank" / "tiny"
    export.main([str(tmp_path / "out" / "checkpoint.pt"), str(folder), "--sigmoid", sigmoid])
    gc.collect()  # while unclosed files are still forgiven
    assert "tiny: (2, 1, 128, 128): largest |torch - onnxruntime|" in capsys.readouterr().out
    loaded = description(folder)
    assert loaded.config.model_dump()["decoder"] == decoder
    assert loaded.outputs[0].axes[1].channel_names == ["foreground", "boundary"]
    assert "instance-segmentation" in loaded.tags
    tensor = apply(loaded.inputs[0].preprocessing, np.load(folder / "test_input.npy"))
    found = apply(loaded.outputs[0].postprocessing, run_onnx(folder, tensor))
    assert found.shape == (1, 2, 128, 128)
    np.testing.assert_allclose(found, np.load(folder / "test_output.npy"), atol=1e-4)


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:You are using the legacy TorchScript-based ONNX export:DeprecationWarning",
    "ignore:The feature will be removed:DeprecationWarning",
    "ignore:unclosed file:ResourceWarning",
)
def test_several_domains_are_trained_on_and_named(torch_tool, tmp_path, capsys):
    train, export = torch_tool("train_unet"), torch_tool("export_torch")
    domain, other = (make_domain(tmp_path / n) for n in ("nuc_dsb_fibro", "nuc_dsb_clustered"))
    recipe = [str(domain), str(tmp_path / "out"), "--steps", "2", "--features", "4", "8"]
    recipe += ["--crop", "32", "--threads", "1", "--objects"]
    train.main(recipe)
    alone = json.loads((tmp_path / "out" / "metrics.json").read_text())
    train.main([*recipe, "--also", f"{other}=outline"])
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["also"] == ["nuc_dsb_clustered"]
    assert alone["also"] == []
    assert report["train_images"] == 2 * alone["train_images"]
    assert str(tmp_path) not in json.dumps(report)
    folder = tmp_path / "both"
    export.main([str(tmp_path / "out" / "checkpoint.pt"), str(folder)])
    gc.collect()  # while unclosed files are still forgiven
    config = description(folder).config.model_dump()
    assert config["trained_on"] == ["nuc_dsb_fibro", "nuc_dsb_clustered"]
    assert "And on `nuc_dsb_clustered`." in (folder / "README.md").read_text()
    with pytest.raises(SystemExit, match="expected FOLDER, FOLDER=outline or FOLDER=labels"):
        train.main([*recipe, "--also", f"{other}=edges"])


def test_objects_are_judged_by_hand(torch_tool):
    judging = torch_tool("judging")
    truth = np.kron(TWO_OBJECTS, np.ones((8, 8), int)).astype(np.uint16)
    truth[truth == 2] = 9  # numbers need not be in a row
    maps = np.zeros((2, 48, 48), np.float32)
    maps[0] = truth > 0
    decoder = {"name": "foreground_boundary", "min_size": 10}
    joined = judging.compare_objects(maps, truth, decoder)
    maps[1, :, 23:25] = 1
    parted = judging.compare_objects(maps, truth, decoder)
    # One object that is both has IoU 1/2 with either, and 1/2 is not more than 1/2.
    assert joined == {"map": 0, "f1_50": 0}
    assert parted == {"map": 1, "f1_50": 1}
    assert judging.mean_scores([joined, parted, {"map": np.nan, "f1_50": 0.8}]) == {
        "map": 0.5,
        "f1_50": 0.6,
    }


def test_instances_beside_a_mask_are_preferred(tool, tmp_path):
    read = tool("domain_folder")
    domain = make_domain(tmp_path / "domain")
    label = io.imread(domain / "labels" / "000.png")
    np.testing.assert_array_equal(read.read_instances(domain, "000"), label)
    np.testing.assert_array_equal(read.read_targets(domain, "000"), label[None] > 0)
    (domain / "labels_instances").mkdir()
    io.imsave(
        domain / "labels_instances" / "000.png", TWO_OBJECTS.astype(np.uint16), check_contrast=False
    )
    mask = 2 - np.eye(6, dtype=np.uint8)  # 1 is the boundary, 2 something else
    io.imsave(domain / "labels" / "000.png", mask, check_contrast=False)
    np.testing.assert_array_equal(read.read_instances(domain, "000"), TWO_OBJECTS)
    found = read.read_targets(domain, "000", "labels")
    np.testing.assert_array_equal(found, [TWO_OBJECTS > 0, np.eye(6, dtype=bool)])
    thin, wide = (read.read_targets(domain, "000", "outline", width) for width in (1, 2))
    assert not thin[1].all()
    assert wide[1].all()


def test_a_share_of_the_training_images_is_taken_by_group(tool):
    take = tool("domain_folder").take
    rows = [{"stem": f"{i:02d}", "group": f"g{i // 3}"} for i in range(24)]
    chosen = take(rows, 0.25, 0)
    assert len(chosen) == 6
    assert len({row["group"] for row in chosen}) == 2
    assert chosen == take(rows, 0.25, 0)
    assert any(chosen != take(rows, 0.25, seed) for seed in range(1, 5))
    assert chosen == sorted(chosen, key=lambda row: row["stem"])
    # Two images at least; a group is not torn.
    assert len(take(rows[::3], 0.01, 0)) == 2
    assert len(take(rows, 0.01, 0)) == 3


@pytest.mark.slow
def test_recipes_compared_on_held_out_training_images_are_not_exported(torch_tool, tmp_path):
    train, export = torch_tool("train_unet"), torch_tool("export_torch")
    domain = make_domain(tmp_path / "nuc_dsb_fibro")
    recipe = ["--steps", "2", "--features", "4", "8", "--crop", "32", "--threads", "1"]
    train.main([str(domain), str(tmp_path / "out"), *recipe, "--holdout", "0.5"])
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["judged_on"] == "held out of train"
    assert set(report["images"]) in ({"000", "001"}, {"002", "003"})
    with pytest.raises(SystemExit, match="trained with --holdout"):
        export.main([str(tmp_path / "out" / "checkpoint.pt"), str(tmp_path / "tiny")])


@pytest.mark.slow
def test_training_refuses_what_it_cannot_use(torch_tool, tmp_path):
    train = torch_tool("train_unet")
    with pytest.raises(SystemExit, match=r"no split\.csv"):
        train.main([str(tmp_path), str(tmp_path / "out")])
    domain = make_domain(tmp_path / "domain")
    with pytest.raises(SystemExit, match="smallest training image has a side of 45"):
        train.main([str(domain), str(tmp_path / "out"), "--steps", "1"])
    with pytest.raises(SystemExit, match="--crop 30: expected a multiple of 8"):
        train.main([str(domain), str(tmp_path / "out"), "--crop", "30"])
    (domain / "split.csv").write_text("stem,group,split\n000,a,train\n")
    with pytest.raises(SystemExit, match="no row of split test"):
        train.main([str(domain), str(tmp_path / "out")])
    with pytest.raises(ValueError, match=r"features: found \[8\]"):
        torch_tool("unet").UNet(1, [8], 0.1)


@pytest.mark.slow
def test_loss_scores_and_scaling_by_hand(torch_tool):
    import torch

    train = torch_tool("train_unet")
    targets = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    # All probabilities 1/2: cross-entropy ln 2, Dice (2 * 0.5 + 1) / (2 + 1 + 1) = 1/2.
    loss = train.bce_dice(torch.zeros(1, 1, 1, 4), targets)
    assert loss.item() == pytest.approx(np.log(2) + 0.5)
    # A second channel that is sure and right costs next to nothing: half of the first's loss.
    both = torch.cat([targets, targets], dim=1)
    logits = torch.cat([torch.zeros(1, 1, 1, 4), 40 * targets - 20], dim=1)
    assert train.bce_dice(logits, both).item() == pytest.approx((np.log(2) + 0.5) / 2)
    assert train.f1(2, 1, 1) == pytest.approx(2 / 3)
    assert np.isnan(train.f1(0, 0, 0))
    summary = train.summarise({"a": (1, 0, 0), "b": (1, 1, 0), "c": (0, 0, 0), "d": (0, 9, 0)})
    # F1: 1, 2/3, undefined, 0; pooled 2 * 2 / (2 * 2 + 10).
    assert summary == {"mean": 0.5556, "median": 0.6667, "pooled": 0.2857}
    # Of 0 .. 1000 the percentiles 1 and 99.8 are 10 and 998.
    scaled = torch_tool("normalising").scale_range(np.arange(1001))
    np.testing.assert_allclose(scaled[[0, 10, 504, 998]], [-10 / 988, 0, 0.5, 1], atol=1e-6)


@pytest.fixture
def bank_place(tmp_path):
    """Three models, and three domains of which two are some model's own."""
    for name, options in {"fibro": {}, "nuc_b_few": {"width": 3}, "other": {"width": 1}}.items():
        blur(tmp_path / "models" / f"{name}.onnx", **options)
    for domain in ("nuc_fibro", "nuc_b", "nuc_c"):
        make_domain(tmp_path / "data" / domain)
    return tmp_path


def bank_options(place, *more):
    taken = [str(place / "data"), str(place / "out"), "nuc_fibro", "nuc_b"]
    return [*taken, "--models", str(place / "models"), *more]


def test_a_bank_is_evaluated_over_domains(tool, bank_place, capfd):
    evaluate = tool("evaluate_bank")
    evaluate.main(bank_options(bank_place, "--estimator", "confidence", "entropy"))
    printed = capfd.readouterr().out
    with (bank_place / "out" / "domains.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["domain"], row["models"], row["estimator"]) for row in rows] == [
        (domain, models, estimator)
        for domain, own in (("nuc_fibro", "fibro"), ("nuc_b", "nuc_b_few"))
        for estimator in ("confidence", "entropy")
        for models in ("all 3", f"not {own}")
    ]
    assert {row["needs"] for row in rows} == {"nothing"}
    with (bank_place / "out" / "summary.csv").open(newline="") as file:
        summary = list(csv.DictReader(file))
    assert [(row["domains"], row["models"], row["estimator"]) for row in summary] == [
        ("mean of 2 (std)", models, estimator)
        for models in ("all", "not in-domain")
        for estimator in ("confidence", "entropy")
    ]
    taus = [
        float(row["tau"])
        for row in rows
        if row["models"] == "all 3" and row["estimator"] == "entropy" and row["tau"] != "-"
    ]
    mean, deviation = summary[1]["tau"].split()
    assert float(mean) == pytest.approx(np.mean(taus), abs=1e-3)
    if len(taus) == 2:
        assert float(deviation.strip("()")) == pytest.approx(np.std(taus, ddof=1), abs=1e-3)
    for line in ("mean of 2 (std)", "pairs right"):
        assert line in printed


def test_models_get_images_of_their_own_train_splits(tool, bank_place, monkeypatch):
    evaluate = tool("evaluate_bank")
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(evaluate.subprocess, "run", run)
    (bank_place / "data" / "nuc_b" / "labels").rename(bank_place / "data" / "nuc_b" / "drawn")
    for domain in ("nuc_fibro", "nuc_c"):
        (bank_place / "data" / domain / "drawn").symlink_to(bank_place / "data" / domain / "labels")
    more = ["--estimator", "all", "--source-splits", "--source-images", "2", "--labels", "drawn"]
    for _ in range(2):  # links of an earlier run are replaced
        with pytest.raises(SystemExit, match="nuc_fibro: onnx-cte evaluate ended with 1"):
            evaluate.main(bank_options(bank_place, *more))
    out = bank_place / "out" / "source"
    given = [word for before, word in zip(asked[1], asked[1][1:], strict=False) if
             before == "--source"]  # fmt: skip
    assert given == [
        f"{model}={out / model / 'images'}:{out / model / 'labels'}"
        for model in ("fibro", "nuc_b_few")
    ]
    assert asked[1][asked[1].index("--estimator") + 1] == "all"
    assert str(bank_place / "data" / "nuc_fibro" / "drawn") in asked[1]
    for kind in ("images", "labels"):
        links = sorted((out / "nuc_b_few" / kind).iterdir())
        # Two of the four of the train split, spread over it.
        assert [link.name for link in links] == ["nuc_b_000.png", "nuc_b_002.png"]
        assert all(link.resolve().is_file() for link in links)
    (bank_place / "data" / "nuc_b" / "images" / "002.png").unlink()
    with pytest.raises(SystemExit, match=r"nuc_b.images: found 0 files '002', expected one"):
        evaluate.main(bank_options(bank_place, *more))
