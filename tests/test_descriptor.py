import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packages import FORMAT_04, FORMAT_05, network, package, sha256, zipped

from onnx_cte.descriptor import (
    ModelDescription,
    Size,
    Step,
    TensorSpec,
    channel_roles,
    describe,
)
from onnx_cte.descriptor.package import read_package, unpack
from onnx_cte.errors import DescriptorError, OptionError


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the network was asked")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def read(folder, text=FORMAT_05, change=None):
    return read_package(package(folder / "tiny", text, change))


def refused(folder, message, change, text=FORMAT_05):
    with pytest.raises(DescriptorError, match=message) as caught:
        read(folder, text, change)
    assert str(caught.value).startswith("tiny/bioimageio.yaml: ")
    return str(caught.value)


def preprocess(*steps, dtype=None):
    def change(content):
        content["inputs"][0]["preprocessing"] = list(steps)
        if dtype is not None:
            content["inputs"][0]["data"]["type"] = dtype

    return change


def postprocess(*steps, dtype="float32"):
    def change(content):
        content["outputs"][0]["postprocessing"] = list(steps)
        content["outputs"][0]["data"]["type"] = dtype

    return change


def cast(dtype):
    return {"id": "ensure_dtype", "kwargs": {"dtype": dtype}}


def test_format_05_as_a_whole(tmp_path):
    found = read(tmp_path)
    assert found == ModelDescription(
        name="Tiny network",
        weights=tmp_path / "tiny/weights.onnx",
        input=TensorSpec(
            "raw",
            "bcyx",
            (("y", Size(32, 8)), ("x", Size(32, 16))),
            1,
            ("intensity",),
            steps=(Step.of("zero_mean_unit_variance", axes="cyx", eps=1e-5),),
        ),
        output=TensorSpec(
            "probability",
            "bcyx",
            channels=2,
            channel_names=("nuclei", "boundary"),
            steps=(Step.of("sigmoid"),),
            halo=(("y", 12),),
        ),
        test_input=tmp_path / "tiny/test_input.npy",
        test_output=tmp_path / "tiny/test_output.npy",
        roles=("foreground", "boundary"),
        origin="zoo 0.5.4",
    )
    assert found.output.halo_along("y") == 12
    assert found.output.halo_along("x") == found.output.border_along("y") == 0
    assert found.input.size_along("y").rule == (32, 8)
    assert found.output.size_along("y") is None


def test_format_04_as_a_whole(tmp_path):
    found = read(tmp_path, FORMAT_04)
    options = {"axes": "yx", "min_percentile": 1.0, "max_percentile": 99.8, "eps": 1e-6}
    assert found.input.steps == (Step.of("scale_range", **options),)
    assert found.input.sizes == (("y", Size(32, 16)), ("x", Size(32, 16)))
    assert found.output.steps == (Step.of("sigmoid"),)
    assert found.output.halo == (("y", 8), ("x", 8))
    assert found.output.channels == 2
    assert found.origin == "zoo 0.4.9"
    assert found.test_input == tmp_path / "tiny/test_input.npy"
    assert found.roles == ("foreground", "channel1")


@pytest.mark.parametrize("text", [FORMAT_04, FORMAT_05])
def test_yaml_as_people_write_it(tmp_path, text):
    folder = package(tmp_path / "tiny", text)
    expected = read_package(folder)
    text = text.replace("data_type: float32", "data_type: float32\n  data_range: [-.inf, .inf]")
    text = text.replace("inputs:", "timestamp: 2021-09-12T14:04:52Z # no text\ninputs:", 1)
    text = text.replace('timestamp: "2021-09-12T14:04:52.211533Z"\n', "")
    (folder / "bioimageio.yaml").write_text(f"%YAML 1.2\n---{text}")
    assert read_package(folder) == expected


def test_folder_description_and_zip_say_the_same(tmp_path):
    folder = package(tmp_path / "tiny")
    expected = read_package(folder)
    assert read_package(str(folder / "bioimageio.yaml")) == expected
    archive = zipped(folder, tmp_path / "tiny.zip")
    nested = zipped(folder, tmp_path / "nested.zip", "tiny-1.0/")
    before = {file: file.stat().st_mtime_ns for file in [folder, *folder.iterdir()]}
    for source in (archive, nested):
        found = read_package(source, workdir=tmp_path / "work")
        assert found.weights.read_bytes() == expected.weights.read_bytes()
        assert found.weights.is_relative_to(tmp_path / "work")
        assert found.fingerprint() == expected.fingerprint()
        assert dataclasses.replace(found, weights=expected.weights) != expected  # own test tensors
    assert before == {file: file.stat().st_mtime_ns for file in [folder, *folder.iterdir()]}


def test_relative_paths_give_absolute_ones(tmp_path, monkeypatch):
    package(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path / "tiny")
    assert read_package(".").weights == tmp_path / "tiny/weights.onnx"
    assert read_package("bioimageio.yaml").weights == tmp_path / "tiny/weights.onnx"


def test_rdf_yaml_is_found_too(tmp_path):
    folder = package(tmp_path / "tiny")
    (folder / "bioimageio.yaml").rename(folder / "rdf.yaml")
    assert read_package(folder).name == "Tiny network"


def test_zip_needs_a_place_and_two_zips_do_not_mix(tmp_path):
    archive = zipped(package(tmp_path / "tiny"), tmp_path / "tiny.zip")
    with pytest.raises(OptionError, match=r"tiny.zip is a zip file; give a workdir"):
        read_package(archive)
    one, two = unpack(archive, tmp_path / "work"), unpack(archive, tmp_path / "work")
    assert one != two
    assert (one / "weights.onnx").is_file()
    assert (two / "weights.onnx").is_file()


@pytest.mark.parametrize("member", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt"])
def test_zip_members_outside_are_refused(tmp_path, member):
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("rdf.yaml", "type: model")
        members.writestr(member, "boo")
    with pytest.raises(DescriptorError, match=r"evil.zip: member .* outside its folder"):
        read_package(archive, workdir=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []
    assert not list(tmp_path.rglob("evil.txt"))


def test_broken_zips(tmp_path):
    archive = tmp_path / "broken.zip"
    archive.write_bytes(b"no zip")
    with pytest.raises(DescriptorError, match=r"broken.zip cannot be unpacked: File is not a zip"):
        read_package(archive, workdir=tmp_path / "work")
    zipped(package(tmp_path / "tiny"), archive)
    content = bytearray(archive.read_bytes())
    content[120] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DescriptorError, match=r"broken.zip cannot be unpacked: Bad CRC"):
        read_package(archive, workdir=tmp_path / "work")
    assert list((tmp_path / "work").iterdir()) == []


def test_nothing_to_read(tmp_path):
    with pytest.raises(DescriptorError, match="absent: there is no such file or folder"):
        read_package(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DescriptorError, match="empty: no model description; expected a file bio"):
        read_package(tmp_path / "empty")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "no readable YAML: while parsing"),
        ("a: 1\na: 2", "no readable YAML: .*duplicate key"),
        ("- 1", "describes no model"),
        ("type: dataset", "describes no model"),
        ("{type: model, format_version: 0.3.6}", "has format 0.3.6; expected 0.4.x or 0.5.x"),
        ("{type: model, format_version: 0.6.0}", "has format 0.6.0; expected 0.4.x or 0.5.x"),
        ("{type: model, format_version: 0.50.0}", "has format 0.50.0; expected 0.4.x or 0.5.x"),
        ("{type: model, format_version: 0.5}", "has format 0.5; expected 0.4.x or 0.5.x"),
        ("{type: model}", "has format None; expected 0.4.x or 0.5.x"),
        (
            "{type: model, format_version: 0.4.1, inputs: [1], outputs: x}",
            r"no valid description \(format 0.4.1\): name: Field required; .*; and \d+ more",
        ),
    ],
)
def test_descriptions_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "rdf.yaml").write_text(text)
    with pytest.raises(DescriptorError, match=message):
        read_package(tmp_path)


def test_invalid_descriptions_give_a_short_reason(tmp_path):
    def several(content):
        content["name"] = "?"
        content["license"] = "none of the 600 licences it then lists"
        content["inputs"][0]["axes"][2]["size"] = -3

    text = refused(tmp_path, r"no valid description \(format 0.5.4\): name: ", several)
    assert "and 5 more" in text
    assert len(text) < 700
    assert "\n" not in text


def test_invalid_04_is_judged_as_04_and_not_for_being_old(tmp_path):
    def change(content):
        content["inputs"][0]["data_type"] = "complex"

    text = refused(tmp_path, r"inputs\.0\.data_type", change, FORMAT_04)
    assert "0.5.14" not in text


def test_urls_and_authors_are_not_looked_up(tmp_path):
    def change(content):
        content["git_repo"] = "https://example.com/repo"
        content["covers"] = [{"source": "https://example.com/cover.png"}]
        content["authors"] = [{"name": "A", "github_user": "a", "orcid": "0000-0001-2345-6789"}]
        content["parent"] = {"id": "affable-shark"}
        content["training_data"] = {"id": "some/dataset"}

    assert read(tmp_path, change=change).name == "Tiny network"


def test_input_from_another_model_is_refused_before_it_is_looked_up(tmp_path):
    refused(
        tmp_path,
        "its input is the output of another model",
        lambda content: content["inputs"][0].update(output_of="affable-shark"),
    )


@pytest.mark.parametrize("text", [FORMAT_04, FORMAT_05])
def test_changed_weights_are_noticed(tmp_path, text):
    right = sha256(package(tmp_path / "tiny", text) / "weights.onnx")
    network(tmp_path / "tiny/weights.onnx", maps=3)
    wrong = sha256(tmp_path / "tiny/weights.onnx")
    message = f"ONNX weights: weights.onnx is not the file .* SHA-256 {right}, got {wrong}"
    with pytest.raises(DescriptorError, match=message):
        read_package(tmp_path / "tiny")


@pytest.mark.parametrize("file", ["test_input.npy", "test_output.npy"])
def test_changed_test_tensors_are_noticed(tmp_path, file):
    folder = package(tmp_path / "tiny")
    right = sha256(folder / file)
    (folder / file).write_bytes(b"else")
    with pytest.raises(
        DescriptorError, match=f"{file} is not the file .* expected SHA-256 {right}"
    ):
        read_package(folder)


@pytest.mark.parametrize("text", [FORMAT_04, FORMAT_05])
@pytest.mark.parametrize("file", ["weights.onnx", "test_input.npy", "test_output.npy"])
def test_missing_files_are_named(tmp_path, text, file):
    (package(tmp_path / "tiny", text) / file).unlink()
    with pytest.raises(DescriptorError, match=f"there is no file {file} in the package"):
        read_package(tmp_path / "tiny")


def test_files_elsewhere_on_the_web(tmp_path):
    url = "https://example.com/file"
    refused(
        tmp_path,
        "https://example.com/file.onnx is not in the package; download the whole",
        lambda content: content["weights"]["onnx"].update(source=f"{url}.onnx"),
    )
    found = read(
        tmp_path,
        change=lambda content: content["inputs"][0].update(test_tensor={"source": f"{url}.npy"}),
    )
    assert found.test_input is None
    assert found.notes == ("the test tensor of 'raw' is not in the package",)


def test_test_tensors_may_be_missing_from_the_description(tmp_path):
    found = read(tmp_path, change=lambda content: content["inputs"][0].pop("test_tensor"))
    assert found.test_input is None
    assert found.notes == ()


def test_other_weights_are_listed(tmp_path):
    torchscript = {"source": "weights.pt", "pytorch_version": "2.5"}
    state = {**torchscript, "architecture": {"callable": "A", "import_from": "b"}}
    refused(
        tmp_path,
        "has no ONNX weights, only: pytorch_state_dict, torchscript; `bioimageio add-weights",
        lambda content: content.update(
            weights={"torchscript": torchscript, "pytorch_state_dict": state}
        ),
    )


def test_external_data_are_checked_and_travel_in_the_zip(tmp_path):
    folder = package(tmp_path / "tiny")
    network(folder / "weights.onnx", external="weights.data")

    def change(content):
        content["weights"]["onnx"]["sha256"] = sha256(folder / "weights.onnx")
        data = {"source": "weights.data", "sha256": sha256(folder / "weights.data")}
        content["weights"]["onnx"]["external_data"] = data

    described = package(tmp_path / "described", change=change) / "bioimageio.yaml"
    shutil.copy(described, folder)
    archive = zipped(folder, tmp_path / "tiny.zip")
    found = read_package(archive, workdir=tmp_path / "work")
    assert (found.weights.parent / "weights.data").read_bytes()
    (folder / "weights.data").write_bytes(b"else")
    with pytest.raises(DescriptorError, match=r"external data of the weights: weights.data is not"):
        read_package(folder)
    (folder / "weights.data").unlink()
    with pytest.raises(DescriptorError, match=r"external data .* no file weights.data"):
        read_package(folder)


NORM = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"]}}
NORM_STEP = Step.of("zero_mean_unit_variance", axes="yx", eps=1e-6)


def test_implied_casts_are_dropped_and_noted(tmp_path):
    found = read(tmp_path, change=preprocess(NORM, dtype="uint8"))
    assert found.input.steps == (NORM_STEP,)
    assert found.input.dtype == "uint8"
    assert found.notes == (
        "'raw' is declared as uint8: the cast to it that the format implies before and after the "
        "steps is left out",
    )


def test_implied_casts_that_change_nothing_are_not_noted(tmp_path):
    assert read(tmp_path, change=preprocess(NORM)).notes == ()
    clip = {"id": "clip", "kwargs": {"min": 3.0}}
    found = read(tmp_path, change=preprocess(clip, dtype="uint8"))
    assert found.input.steps == (Step.of("clip", min=3.0),)
    assert found.notes == ()
    assert read(tmp_path, change=preprocess(dtype="uint8")).input.steps == ()


@pytest.mark.parametrize("first", [[], [cast("uint8")], [cast("float32")]])
@pytest.mark.parametrize("last", [[], [cast("uint8")], [cast("float32")]])
def test_explicit_casts_are_kept(tmp_path, first, last):
    found = read(tmp_path, change=preprocess(*first, NORM, *last, dtype="uint16"))
    written = [Step.of("ensure_dtype", **entry["kwargs"]) for entry in [*first, *last]]
    expected = [*written[: len(first)], NORM_STEP, *written[len(first) :]]
    assert list(found.input.steps) == expected
    where = [["before"], []][len(first)] + [["after"], []][len(last)]
    notes = " and ".join(where)
    assert [f"{notes} the steps" in note for note in found.notes] == [True] * bool(where)


def test_a_single_explicit_cast_is_kept_once(tmp_path):
    found = read(tmp_path, change=preprocess(cast("uint8"), dtype="uint8"))
    assert found.input.steps == (Step.of("ensure_dtype", dtype="uint8"),)


def test_casts_of_outputs(tmp_path):
    sigmoid = {"id": "sigmoid"}
    found = read(tmp_path, change=postprocess(sigmoid, dtype="uint8"))
    assert found.output.steps == (Step.of("sigmoid"),)
    assert "'probability' is declared as uint8" in found.notes[0]
    assert "implies after the steps" in found.notes[0]
    found = read(tmp_path, change=postprocess(sigmoid, cast("uint8"), dtype="uint8"))
    assert found.output.steps == (Step.of("sigmoid"), Step.of("ensure_dtype", dtype="uint8"))
    assert found.notes == ()
    cut = {"id": "binarize", "kwargs": {"threshold": 0.3}}
    found = read(tmp_path, change=postprocess(cut, dtype="uint8"))
    assert found.output.steps == (Step.of("binarize", threshold=0.3),)


def test_implied_casts_of_format_04(tmp_path):
    def change(content):
        content["inputs"][0]["data_type"] = "uint8"

    found = read(tmp_path, FORMAT_04, change)
    assert [step.name for step in found.input.steps] == ["scale_range"]
    assert "declared as uint8: the cast to it that the format implies before the" in found.notes[0]
    found = read(tmp_path, FORMAT_04, lambda content: content["inputs"][0].pop("preprocessing"))
    assert found.input.steps == ()


@pytest.mark.parametrize(
    ("step", "noted"),
    [
        ({"id": "zero_mean_unit_variance"}, True),
        ({"id": "zero_mean_unit_variance", "kwargs": {"axes": ["batch", "y", "x"]}}, True),
        ({"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}, False),
        ({"id": "scale_range", "kwargs": {"max_percentile": 99.0}}, True),
        ({"id": "scale_range", "kwargs": {"axes": ["y", "x"]}}, False),
        ({"id": "clip", "kwargs": {"max_percentile": 99.0}}, True),
        ({"id": "clip", "kwargs": {"max_percentile": 99.0, "axes": ["y", "x"]}}, False),
        ({"id": "clip", "kwargs": {"max": 99.0}}, False),
    ],
)
def test_dataset_statistics_are_noted(tmp_path, step, noted):
    found = read(tmp_path, change=preprocess(step))
    assert [f"{step['id']} of 'raw': statistics of each image" in n for n in found.notes] == (
        [True] * noted
    )
    if noted and "axes" in step.get("kwargs", {}):
        assert found.input.steps[0].get("axes") == "yx"


@pytest.mark.parametrize("name", ["scale_range", "zero_mean_unit_variance"])
@pytest.mark.parametrize("mode", ["per_sample", "per_dataset"])
def test_format_04_says_itself_what_statistics_are_over(tmp_path, name, mode):
    def change(content):
        step = {"name": name, "kwargs": {"mode": mode, "axes": "cyx"}}
        content["inputs"][0]["preprocessing"] = [step]

    found = read(tmp_path, FORMAT_04, change)
    assert found.input.steps[0].get("axes") == "cyx"
    assert ["statistics of each image" in note for note in found.notes[:-1]] == (
        [True] * (mode == "per_dataset")
    )


def test_per_channel_values_of_format_04(tmp_path):
    def change(*steps):
        return lambda content: content["inputs"][0].update(preprocessing=list(steps))

    fixed = {"mode": "fixed", "mean": [100.0], "std": [5.0]}
    linear = {"name": "scale_linear", "kwargs": {"axes": "yx", "gain": 0.5, "offset": 1.0}}
    listed = {"name": "scale_linear", "kwargs": {"axes": "cyx", "gain": [0.5]}}
    for axes in ("yx", "cyx"):
        norm = {"name": "zero_mean_unit_variance", "kwargs": {**fixed, "axes": axes}}
        found = read(tmp_path, FORMAT_04, change(norm, linear, listed))
        first, second, third = found.input.steps
        assert first.name == "fixed_zero_mean_unit_variance"
        assert first.get("mean") == (100.0 if axes == "cyx" else (100.0,))
        assert second == Step.of("scale_linear", gain=0.5, offset=1.0)
        assert third == Step.of("scale_linear", gain=0.5, offset=0.0)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (
            {"id": "binarize", "kwargs": {"threshold": [0.1, 0.2], "axis": "channel"}},
            Step.of("binarize", threshold=[0.1, 0.2], axis="c"),
        ),
        ({"id": "softmax"}, Step.of("softmax", axis="c")),
        (
            {"id": "scale_linear", "kwargs": {"gain": [2.0, 3.0], "axis": "channel"}},
            Step.of("scale_linear", gain=[2.0, 3.0], offset=[0.0, 0.0], axis="c"),
        ),
        (
            {"id": "fixed_zero_mean_unit_variance", "kwargs": {"mean": 1.0, "std": 2.0}},
            Step.of("fixed_zero_mean_unit_variance", mean=1.0, std=2.0),
        ),
    ],
)
def test_options_of_steps(tmp_path, step, expected):
    assert read(tmp_path, change=postprocess(step)).output.steps == (expected,)


STARDIST = {"prob_threshold": 0.5, "nms_threshold": 0.3, "n_rays": 32, "grid": [1, 1], "b": 2}
CELLPOSE = {"cellprob_threshold": 0.0, "flow_threshold": 0.4, "do_3D": False}


@pytest.mark.parametrize(
    "step",
    [
        {"id": "stardist_postprocessing", "kwargs": STARDIST},
        {"id": "cellpose_flow_dynamics", "kwargs": CELLPOSE},
        {"id": "scale_mean_variance", "kwargs": {"reference_tensor": "raw"}},
        {"id": "custom", "callable": "f", "source": "f.py"},
    ],
)
def test_steps_we_cannot_do_are_named(tmp_path, step):
    message = f"tensor 'probability': step '{step['id']}' is not supported; supported are: bin.*ze"
    refused(tmp_path, message, postprocess(step))


def test_unknown_preprocessing_is_named(tmp_path):
    refused(tmp_path, "Input tag 'equalize' found", preprocess({"id": "equalize"}))


def test_lists_that_do_not_match_the_channels(tmp_path):
    step = {"id": "scale_linear", "kwargs": {"gain": [2.0, 3.0, 4.0], "axis": "channel"}}
    refused(tmp_path, "has 3 values along axis 'c'; the tensor has 2", postprocess(step))
    step = {"id": "softmax", "kwargs": {"axis": "z"}}
    refused(tmp_path, "softmax of 'probability' names axis 'z'; there are: ba", postprocess(step))


def test_reference_tensors(tmp_path):
    step = {"id": "scale_range", "kwargs": {"axes": ["y", "x"], "reference_tensor": "raw"}}
    found = read(tmp_path, change=preprocess(cast("float32"), step))
    assert found.input.steps[1].get("reference_tensor") is None
    assert found.input.steps[1].name == "scale_range"
    gain = {"id": "scale_linear", "kwargs": {"gain": 2.0}}
    message = "scale_range of 'raw' takes its statistics from tensor 'raw' as it was before all"
    refused(tmp_path, message, preprocess(gain, step))
    message = "scale_range of 'probability' takes its statistics from tensor 'raw'"
    refused(tmp_path, message, postprocess(step))


def test_reference_tensors_of_format_04_are_not_lost(tmp_path):
    options = {"mode": "per_dataset", "axes": "yx", "reference_tensor": "raw"}

    def change(content):
        content["outputs"][0]["postprocessing"] = [{"name": "scale_range", "kwargs": options}]

    message = "scale_range of 'probability' takes its statistics from tensor 'raw'"
    refused(tmp_path, message, change, FORMAT_04)


def test_channels_last(tmp_path):
    def change(content):
        for tensor in [*content["inputs"], *content["outputs"]]:
            tensor["axes"].append(tensor["axes"].pop(1))
        content["outputs"][0]["axes"].append(content["outputs"][0]["axes"].pop(0))

    found = read(tmp_path, change=change)
    assert found.input.axes == "byxc"
    assert found.output.axes == "yxcb"
    assert found.input.channels == 1
    assert found.output.channel_names == ("nuclei", "boundary")


def test_channels_last_in_format_04(tmp_path):
    def change(content):
        content["inputs"][0].update(axes="byxc", shape=[1, 64, 64, 1])
        shape = {"reference_tensor": "raw", "scale": [1, 1, 1, 0], "offset": [0, 0, 0, 1.5]}
        content["outputs"][0].update(axes="byxc", halo=[0, 8, 8, 0], shape=shape)

    found = read(tmp_path, FORMAT_04, change)
    assert found.input.axes == found.output.axes == "byxc"
    assert found.output.channels == 3
    assert found.input.size_along("x").rule == 64


def test_axes_that_are_missing_or_many(tmp_path):
    def no_channels(content):
        del content["inputs"][0]["axes"][1]
        del content["outputs"][0]["axes"][1]
        content["inputs"][0]["preprocessing"] = []

    found = read(tmp_path, change=no_channels)
    assert found.input.axes == found.output.axes == "byx"
    assert found.input.channels is None
    assert found.notes == ("the only output channel, 'probability', is taken as foreground",)

    def flat(content):
        content["inputs"][0]["axes"].insert(2, {"type": "space", "id": "z", "size": 1})
        content["outputs"][0]["axes"].insert(2, {"type": "index", "size": 3})

    found = read(tmp_path, change=flat)
    assert found.input.axes == "bczyx"
    assert found.input.size_along("z") == Size(1, 0)
    assert found.output.axes == "bciyx"
    assert found.output.size_along("i") == Size(3, 0)


def test_axes_we_do_not_know(tmp_path):
    def change(content):
        content["inputs"][0]["axes"][2]["id"] = "height"
        content["outputs"][0]["axes"][2]["size"]["axis_id"] = "height"
        content["inputs"][0]["preprocessing"] = []

    refused(tmp_path, r"tensor 'raw' has an axis 'height' \(space\); expected", change)


def side(content, axis, **entries):
    (entry,) = [a for a in content["outputs"][0]["axes"] if a.get("id") == axis]
    entry.pop("halo", None)
    entry.update(entries)


def test_output_smaller_by_a_border(tmp_path):
    def change(content):
        side(content, "y", size={"tensor_id": "raw", "axis_id": "y", "offset": -16})

    found = read(tmp_path, change=change)
    assert found.output.border == (("y", 8),)
    assert found.output.border_along("y") == 8
    for offset in (-3, 4):
        refused(
            tmp_path,
            f"side y of output 'probability' differs from the input's by {offset} pixels",
            lambda c, o=offset: side(
                c, "y", size={"tensor_id": "raw", "axis_id": "y", "offset": o}
            ),
        )


def test_output_of_another_resolution(tmp_path):
    def grid(content):  # StarDist's; its halo is in px of the output
        for axis in "yx":
            side(content, axis, scale=2.0)

    found = read(tmp_path, change=grid).output
    assert found.scale == (("y", 2), ("x", 2))
    assert found.scale_along("y") == 2
    assert read(tmp_path).output.scale_along("y") == 1
    assert found.border == ()

    def grid_with_halo(content):
        side(content, "y", scale=2.0, halo=6)
        side(content, "x", scale=2.0, halo=4)

    assert read(tmp_path, change=grid_with_halo).output.halo == (("y", 12), ("x", 8))

    def grid_04(content):
        content["outputs"][0]["shape"]["scale"] = [1, 0, 0.5, 0.5]
        del content["outputs"][0]["halo"]

    assert read(tmp_path, FORMAT_04, grid_04).output.scale == (("y", 2), ("x", 2))
    message = "side x of output 'probability' is 2 times that of the input; .* Add a resize"
    refused(tmp_path, message, lambda content: side(content, "x", scale=0.5))
    for scale, factor in ((0.4, "2.5"), (1.5, "0.666667")):
        message = f"side x of output 'probability' is {factor} times that of the input"
        refused(tmp_path, message, lambda content, by=scale: side(content, "x", scale=by))
    assert read(tmp_path, change=lambda c: side(c, "x", scale=7.0)).output.scale == (("x", 7),)

    def coarse_and_cropped(content):
        side(content, "y", scale=2.0)
        side(content, "x", size={"tensor_id": "raw", "axis_id": "x", "offset": -8})

    refused(tmp_path, "both coarser than the input and smaller by a border", coarse_and_cropped)


def test_fixed_sides(tmp_path):
    def fixed(outer, inner):
        def change(content):
            content["inputs"][0]["axes"][2]["size"] = outer
            side(content, "y", size=inner)

        return change

    found = read(tmp_path, change=fixed(128, 128))
    assert found.input.size_along("y").rule == 128
    assert found.output.sizes == found.output.border == ()
    assert read(tmp_path, change=fixed(572, 388)).output.border == (("y", 92),)
    assert read(tmp_path, change=fixed(128, 64)).output.scale == (("y", 2),)
    refused(tmp_path, "side y of .* is 2 times that of the input", fixed(64, 128))
    free = fixed({"min": 32, "step": 8}, 64)
    refused(tmp_path, "side y of .* is always 64, while the input's is free", free)


def test_halo_at_fixed_sides_in_format_04(tmp_path):
    # what the zoo's library refuses to turn into 0.5
    def change(inner):
        def fix(content):
            content["inputs"][0]["shape"] = [1, 1, 128, 96]
            content["outputs"][0].update(shape=[1, 2, *inner], halo=[0, 0, 8, 0])

        return fix

    found = read(tmp_path, FORMAT_04, change((128, 96)))
    assert found.input.sizes == (("y", Size(128, 0)), ("x", Size(96, 0)))
    assert found.output.halo == (("y", 8),)
    assert found.output.channels == 2
    assert found.output.border == ()
    assert read(tmp_path, FORMAT_04, change((108, 96))).output.border == (("y", 10),)


def test_halo_at_fixed_sides_of_a_free_input_is_left_to_the_zoos_library(tmp_path):
    message = "format 0.4.9 cannot be read as 0.5: output axis with halo and fixed size .here 64"
    refused(tmp_path, message, lambda c: c["outputs"][0].update(shape=[1, 2, 64, 64]), FORMAT_04)


def test_channels_as_many_as_those_of_the_input_in_format_04(tmp_path):
    def change(content):  # the zoo's library warns here, and warnings are errors in these tests
        content["outputs"][0]["shape"].update(scale=[1, 1, 1, 1], offset=[0, 0, 0, 0])

    assert read(tmp_path, FORMAT_04, change).output.channels == 1


def test_side_tied_to_another(tmp_path):
    def change(content):
        tied = {"tensor_id": "raw", "axis_id": "y", "offset": 8}
        content["inputs"][0]["axes"][3]["size"] = tied
        side(content, "x", size={"tensor_id": "raw", "axis_id": "y", "offset": 4})

    found = read(tmp_path, change=change)
    assert found.input.sizes == (("y", Size(32, 8)), ("x", Size(40, 8)))
    assert found.output.border == (("x", 2),)
    assert found.notes == ("input side x is tied to side y: choose both together",)

    def stretched(content):
        change(content)
        content["inputs"][0]["axes"][3]["scale"] = 2.0

    refused(tmp_path, r"axis 'x' of input 'raw' is sized by raw.y; expected a size", stretched)


def test_fixed_sides_may_refer_to_each_other(tmp_path):
    def change(content):
        for axis in content["inputs"][0]["axes"][2:]:
            axis["size"] = 64
        side(content, "x", size={"tensor_id": "raw", "axis_id": "y", "offset": -8})

    assert read(tmp_path, change=change).output.border == (("x", 4),)


def test_output_sized_by_something_else(tmp_path):
    def swapped(content):
        side(content, "y", size={"tensor_id": "raw", "axis_id": "x"})

    refused(tmp_path, r"side y of .* is sized by raw.x; expected raw.y", swapped)

    def counted(content):
        content["outputs"][0]["axes"].insert(2, {"type": "index", "size": {"min": 1}})

    refused(tmp_path, "side index of output 'probability' depends on the data", counted)


def second_input(content, **entries):
    extra = {**content["inputs"][0], "id": "prompt", **entries}
    content["inputs"].insert(0, extra)


def test_only_one_input(tmp_path):
    refused(tmp_path, r"needs 2 inputs \('prompt', 'raw'\); expected one, the image", second_input)
    found = read(tmp_path, change=lambda content: second_input(content, optional=True))
    assert found.input.name == "raw"
    assert found.input.index == 1
    assert found.notes == ("optional input 'prompt' is left out",)


def test_first_map_among_outputs(tmp_path):
    def change(content):
        axes = [{"type": "batch"}, {"type": "channel", "channel_names": ["score"]}]
        maps = content["outputs"][0]
        content["outputs"] = [{"id": "quality", "axes": axes}, maps, {**maps, "id": "other"}]

    found = read(tmp_path, change=change)
    assert (found.output.name, found.output.index) == ("probability", 1)
    assert found.test_output == tmp_path / "tiny/test_output.npy"
    assert found.notes == ("of 3 outputs, 'probability' is judged",)

    def none(content):
        change(content)
        del content["outputs"][1:]

    refused(tmp_path, r"no output has axes y and x \(outputs: 'quality'\)", none)


def test_input_has_to_be_an_image(tmp_path):
    def change(content):
        content["inputs"][0]["axes"][2:] = [{"type": "time", "size": 5}]
        content["inputs"][0]["preprocessing"] = []
        for axis in "yx":
            side(content, axis, size=64)

    refused(tmp_path, "input 'raw' has no axes y and x; expected an image", change)


@pytest.mark.parametrize(
    ("names", "roles", "notes"),
    [
        (["foreground", "boundary"], ("foreground", "boundary"), 0),
        (["Membrane", "Cell"], ("boundary", "foreground"), 0),
        (["cell boundary", "fg_prob"], ("boundary", "foreground"), 0),
        (["background", "nuclei", "cells"], ("background", "foreground", "cells"), 1),
        (["background", "ER", "golgi"], ("background", "ER", "golgi"), 0),
        (["mitochondria"], ("foreground",), 0),
        (["boundaries"], ("foreground",), 1),
        (["channel0", "channel1"], ("foreground", "channel1"), 1),
        (["edges", "vesicles"], ("boundary", "foreground"), 1),
        (["edge", "border"], ("foreground", "border"), 2),
        (["cell distance", "cell"], ("cell distance", "foreground"), 0),
        (["x", "x", "x"], ("foreground", "channel1", "channel2"), 1),
    ],
)
def test_roles(names, roles, notes):
    found, said = channel_roles(names)
    assert found == roles
    assert len(said) == notes
    assert len(set(found)) == len(found)


def test_roles_say_what_was_assumed(tmp_path):
    def change(content):
        content["outputs"][0]["axes"][1]["channel_names"] = ["a", "b"]

    found = read(tmp_path, change=change)
    assert found.roles == ("foreground", "b")
    assert found.notes == (
        "no output channel is named as foreground; the one named 'a', number 1 of 2, is taken as "
        "it",
    )


def test_fingerprint_depends_on_what_determines_predictions_only(tmp_path):
    found = read(tmp_path)
    same = dataclasses.replace(
        found, name="other", weights=Path("x"), test_input=None, origin="bare", notes=("n",)
    )
    assert same.fingerprint() == found.fingerprint()
    spec = dataclasses.replace(found.input, steps=(Step.of("zero_mean_unit_variance"),))
    halo = dataclasses.replace(found.output, halo=())
    others = [
        dataclasses.replace(found, input=spec),
        dataclasses.replace(found, output=halo),
        dataclasses.replace(found, roles=("boundary", "foreground")),
        dataclasses.replace(found, threshold=0.4),
    ]
    assert len({found.fingerprint(), *(other.fingerprint() for other in others)}) == 5
    assert len({found, same, *others}) == 6


def test_fingerprint_is_the_same_in_another_process():
    code = (
        "from pathlib import Path\n"
        "from onnx_cte.descriptor import *\n"
        "step = Step.of('binarize', threshold=[0.1, 0.2], axis='c')\n"
        "spec = TensorSpec('a', 'bcyx', (('y', Size(8, 2)),), 2, ('p', 'q'), steps=(step,))\n"
        "print(ModelDescription('m', Path('w'), spec, spec).fingerprint())\n"
    )
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "7",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    step = Step.of("binarize", axis="c", threshold=(0.1, 0.2))
    spec = TensorSpec("a", "bcyx", (("y", Size(8, 2)),), 2, ("p", "q"), steps=(step,))
    assert found.stdout.strip() == ModelDescription("n", Path("v"), spec, spec).fingerprint()


def test_summary_says_what_was_understood(tmp_path):
    def change(content):
        preprocess(NORM, dtype="uint8")(content)
        side(content, "x", size={"tensor_id": "raw", "axis_id": "x", "offset": -4})

    lines = describe(read(tmp_path, change=change)).splitlines()
    assert lines == [
        "Tiny network (zoo 0.5.4)",
        "  input   raw, bcyx, uint8, channels: 1, y: 32 + n * 8, x: 32 + n * 16",
        "  before  zero_mean_unit_variance(axes=yx, eps=1e-06)",
        "  output  probability, bcyx, float32, channels: 2, halo y: 12, "
        "smaller on each side by 2 along x",
        "  after   sigmoid()",
        "  roles   foreground, boundary, threshold 0.5",
        "  note    'raw' is declared as uint8: the cast to it that the format implies before and "
        "after the steps is left out",
    ]


def test_import_of_the_package_does_not_import_the_zoos_library():
    code = "import sys, onnx_cte.descriptor.package; print('bioimageio.spec' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
