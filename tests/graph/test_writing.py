"""Models are written whole or not at all, external data into one file beside them."""

import itertools
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from families.building import built, find
from graph_models import drawn, network, node, observed, run, unet
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, set_external_data, uses_external_data

from onnx_cte.errors import GraphError, OutputError
from onnx_cte.graph import writing
from onnx_cte.graph.signature import load_graph
from onnx_cte.graph.surgery import crossings, split
from onnx_cte.graph.writing import ALIGNMENT, refuse_overwriting, staged, tensors_in, write_model

IMAGE = {"image": drawn((1, 1, 8, 12))}


def scattered(folder: Path, *, junk: int = 5) -> onnx.ModelProto:
    """The small U-Net: each weight in a file of its own, amid junk; of odd ones no length is said.

    `wm` stays within the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = unet()
    for number, tensor in enumerate(model.graph.initializer):
        if tensor.name == "wm":
            continue
        place = f"{tensor.name}.bin"
        (folder / place).write_bytes(b"j" * junk * 4 + tensor.raw_data + b"k" * junk)
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.raw_data = b"x"  # `set_external_data` insists
        length = None if number % 2 else size
        set_external_data(tensor, place, offset=junk * 4, length=length, checksum="of another file")
        tensor.ClearField("raw_data")
    onnx.save(model, folder / "net.onnx")
    return load_graph(folder / "net.onnx")


def places(path: Path) -> dict[str, ExternalDataInfo]:
    model = load_graph(path)
    return {t.name: ExternalDataInfo(t) for t in tensors_in(model) if uses_external_data(t)}


def same(path: Path, model: onnx.ModelProto | None = None, feeds=IMAGE) -> None:
    """The file is sound, and gives exactly what the U-Net gives."""
    onnx.checker.check_model(str(path), full_check=True)
    expected = run(model or unet(), feeds)
    found = run(load_graph(path), feeds, path.parent)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_model_without_external_data_is_one_file(tmp_path):
    write_model(unet(), tmp_path / "deep" / "net.onnx", tmp_path)
    assert os.listdir(tmp_path / "deep") == ["net.onnx"]
    assert onnx.load(tmp_path / "deep" / "net.onnx") == unet()
    same(tmp_path / "deep" / "net.onnx")


def test_external_data_goes_into_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_CHUNK", 7)  # parts of files are put together again
    model = scattered(tmp_path / "from")
    before = model.SerializeToString(deterministic=True)
    out = tmp_path / "to" / "net.onnx"
    write_model(model, out, tmp_path / "from")
    assert model.SerializeToString(deterministic=True) == before
    assert sorted(os.listdir(out.parent)) == ["net.onnx", "net.onnx.data"]
    same(out)
    found = places(out)
    assert set(found) == {"wa", "ba", "wb", "wu", "wd", "bd"}
    assert {info.location for info in found.values()} == {"net.onnx.data"}
    assert {info.offset % ALIGNMENT for info in found.values()} == {0}
    assert found["ba"].length == 16
    assert found["wb"].length == 8 * 4 * 9 * 4
    assert {info.checksum for info in found.values()} == {None}
    # Nothing but the weights, each moved to the next multiple of the alignment.
    ends = sorted((info.offset, info.length) for info in found.values())
    for (start, length), (after, _) in itertools.pairwise(ends):
        assert 0 <= after - start - length < ALIGNMENT
    assert (out.parent / "net.onnx.data").stat().st_size == sum(ends[-1])


def test_a_family_with_external_data(tmp_path):
    path = built(find("hand-external"))
    write_model(load_graph(path), tmp_path / "net.onnx", path.parent)
    feeds = {"image": drawn((1, 1, 96, 160))}
    same(tmp_path / "net.onnx", onnx.load(path), feeds)


def test_each_part_has_its_own_weights(tmp_path):
    model = scattered(tmp_path)
    seen = observed(model, IMAGE["image"], folder=tmp_path).values
    names = crossings(model, "b")
    assert names == ("a",)
    for part, file in zip(split(model, "b", names, seen), ("e.onnx", "d.onnx"), strict=True):
        write_model(part, tmp_path / "to" / file, tmp_path)
    assert set(places(tmp_path / "to" / "e.onnx")) == {"wa", "ba", "wb"}
    assert set(places(tmp_path / "to" / "d.onnx")) == {"wu", "wd", "bd"}
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "to").iterdir()}
    assert sizes["e.onnx.data"] < 4 * (36 + 4 + 288) + 3 * ALIGNMENT
    first = run(load_graph(tmp_path / "to" / "e.onnx"), IMAGE, tmp_path / "to")
    second = run(load_graph(tmp_path / "to" / "d.onnx"), first, tmp_path / "to")
    np.testing.assert_array_equal(second["map"], run(unet(), IMAGE)["map"])


def test_what_two_tensors_share_is_written_once(tmp_path):
    model = network(
        [node("Add", ["image", "u"], ["s"]), node("Add", ["s", "v"], ["map"])],
        {"image": [1, 1, 4, 4]},
        {"map": [1, 1, 4, 4]},
        {"u": np.full((4, 4), 3, np.float32), "v": np.full((4, 4), 3, np.float32)},
    )
    (tmp_path / "both.bin").write_bytes(model.graph.initializer[0].raw_data)
    for tensor in model.graph.initializer:
        set_external_data(tensor, "both.bin", offset=0, length=64)
        tensor.ClearField("raw_data")
    write_model(model, tmp_path / "net.onnx", tmp_path)
    assert (tmp_path / "net.onnx.data").stat().st_size == 64
    image = drawn((1, 1, 4, 4))
    found = run(load_graph(tmp_path / "net.onnx"), {"image": image}, tmp_path)
    np.testing.assert_array_equal(found["map"], image + 3 + 3)


def external(kind: int, dims: list[int], name: str) -> TensorProto:
    """A tensor in the file of its name, of which neither offset nor length is said."""
    tensor = TensorProto(name=name, data_type=kind, dims=dims, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=f"{name}.bin")
    return tensor


@pytest.mark.parametrize(
    ("kind", "dims", "size"),
    [
        ("FLOAT", [], 4),
        ("FLOAT", [3, 0], 0),
        ("BOOL", [5], 5),
        ("BFLOAT16", [2, 3], 12),
        ("DOUBLE", [3], 24),
        ("COMPLEX128", [2], 32),
        ("INT4", [3], 2),
        ("FLOAT8E5M2", [7], 7),
    ],
)
def test_without_a_length_the_type_and_the_shape_tell(tmp_path, kind, dims, size):
    model = unet()
    model.graph.initializer.append(external(getattr(TensorProto, kind), dims, "extra"))
    (tmp_path / "extra.bin").write_bytes(bytes(range(40)))
    write_model(model, tmp_path / "net.onnx", tmp_path)
    assert places(tmp_path / "net.onnx")["extra"].length == size
    assert (tmp_path / "net.onnx.data").read_bytes() == bytes(range(size))


def test_texts_cannot_lie_outside(tmp_path):
    model = unet()
    model.graph.initializer.append(external(TensorProto.STRING, [2], "words"))
    (tmp_path / "words.bin").write_bytes(b"ab")
    with pytest.raises(GraphError, match="tensor 'words' of type STRING lies in another file"):
        write_model(model, tmp_path / "net.onnx", tmp_path)


def test_tensors_are_found_wherever_they_are():
    def held(name: str) -> TensorProto:
        return numpy_helper.from_array(np.zeros(2, np.float32), name)

    sparse = helper.make_sparse_tensor(
        held("values"), numpy_helper.from_array(np.array([0, 2]), "indices"), [4]
    )
    inner = helper.make_graph(
        [node("Constant", [], ["k"], value=held("in_branch"))], "then", [], [], [held("weight")]
    )
    model = unet()
    for made in (
        node("If", ["c"], ["o"], then_branch=inner, else_branch=inner),
        node("Constant", [], ["s"], sparse_value=sparse),
        node("Odd", [], ["t"], several=[held("first"), held("second")], domain="local"),
    ):
        model.graph.node.append(made)
    model.graph.sparse_initializer.append(sparse)
    body = [node("Constant", [], ["f"], value=held("in_function"))]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "F", [], ["f"], body, opsets))
    names = [tensor.name for tensor in tensors_in(model)]
    assert names == [
        *("wa", "ba", "wb", "wu", "wd", "bd", "wm", "values", "indices"),
        *("weight", "in_branch", "weight", "in_branch", "values", "indices", "first", "second"),
        "in_function",
    ]


def nothing_new(folder: Path, before: dict[str, bytes]) -> bool:
    return {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("spoil", "error", "complaint"),
    [
        (
            lambda place: (place / "wb.bin").write_bytes(b"x" * 50),
            GraphError,
            "'wb.bin' ends within tensor 'wb': 1152 bytes expected from byte 20 on, found 30; copy",
        ),
        (
            lambda place: (place / "wb.bin").unlink(),
            GraphError,
            "weights of tensor 'wb' are in 'wb.bin', which is not beside the model",
        ),
        (
            lambda place: ((place / "wb.bin").unlink(), (place / "wb.bin").mkdir()),
            OutputError,
            "net.onnx' cannot be written: ",
        ),
    ],
)
def test_after_an_error_all_is_as_before(tmp_path, spoil, error, complaint):
    model = scattered(tmp_path / "from")
    spoil(tmp_path / "from")
    out = tmp_path / "to"
    out.mkdir()
    before = {"net.onnx": b"an older model", "net.onnx.data": b"and its weights"}
    for name, content in before.items():
        (out / name).write_bytes(content)
    with pytest.raises(error, match=complaint):
        write_model(model, out / "net.onnx", tmp_path / "from")
    assert nothing_new(out, before)


def test_an_older_model_is_replaced(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"an older model")
    write_model(unet(), tmp_path / "net.onnx", tmp_path)
    same(tmp_path / "net.onnx")


def test_what_is_too_large_for_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "LARGEST", 1000)
    with pytest.raises(OutputError, match=r"bytes are more than the 2 GB an ONNX file may have"):
        write_model(unet(), tmp_path / "net.onnx", tmp_path)
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match=r"taken' cannot be written: .*; choose another place"):
        write_model(unet(), tmp_path / "taken" / "net.onnx", tmp_path)
    (tmp_path / "net.onnx").mkdir()
    with pytest.raises(OutputError, match=r"net\.onnx' cannot be written: .*; choose another"):
        write_model(unet(), tmp_path / "net.onnx", tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["net.onnx", "taken"]


def test_weights_that_are_read_are_not_written_over(tmp_path):
    model = scattered(tmp_path)
    os.rename(tmp_path / "wa.bin", tmp_path / "new.onnx.data")
    for tensor in model.graph.initializer:
        if tensor.name == "wa":
            tensor.external_data[0].value = "new.onnx.data"
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"new\.onnx\.data' is what the model is read from; wri"):
        write_model(model, tmp_path / "new.onnx", tmp_path)
    assert nothing_new(tmp_path, before)


def test_a_file_is_known_by_any_name(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"a")
    (tmp_path / "deep").mkdir()
    other = tmp_path / "deep" / ".." / "a.onnx"
    with pytest.raises(OutputError, match="is what the model is read from"):
        refuse_overwriting([other], [tmp_path / "a.onnx"])
    os.link(tmp_path / "a.onnx", tmp_path / "b.onnx")
    with pytest.raises(OutputError, match=r"b\.onnx' is what the model is read from"):
        refuse_overwriting([tmp_path / "c.onnx", tmp_path / "b.onnx"], [tmp_path / "a.onnx"])
    refuse_overwriting([tmp_path / "c.onnx"], [tmp_path / "a.onnx", tmp_path / "gone.onnx"])


def interrupted(folder):
    with staged(folder) as place:
        (place / "b.onnx").write_bytes(b"b")
        raise KeyboardInterrupt


def test_staged_files_appear_together_or_not_at_all(tmp_path):
    with staged(tmp_path / "out") as place:
        (place / "a.onnx").write_bytes(b"a")
        (place / "a.onnx.data").write_bytes(b"b")
        assert os.listdir(tmp_path / "out") == [place.name]
    assert sorted(os.listdir(tmp_path / "out")) == ["a.onnx", "a.onnx.data"]
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["a.onnx", "a.onnx.data"]
