import numpy as np
import onnx
import onnxruntime
import pytest
from networks import blur

from onnx_cte.errors import DeviceError, GraphError, InferenceError, OptionError
from onnx_cte.sessions import Session, choose_device, cores, devices, seen_values

NO_CUDA = (
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    or not (devices.cuda_works()[0])
)


def test_the_probe_is_an_identity_network():
    model = onnx.load_from_string(devices._PROBE)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Identity"]


def test_cpu_is_always_there():
    assert choose_device("cpu") == "cpu"
    assert cores() >= 1


@pytest.mark.skipif(not NO_CUDA, reason="there is a CUDA device here")
def test_auto_takes_what_there_is_and_cuda_is_never_replaced_silently(capfd):
    assert choose_device("auto") == "cpu"
    with pytest.raises(DeviceError, match=r"'cuda' was asked for, but only 'cpu' works here: .+"):
        choose_device("cuda")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not NO_CUDA, reason="there is a CUDA device here")
def test_a_session_that_falls_back_is_refused(tmp_path):
    with pytest.raises(DeviceError, match=r"asked for CUDA, ONNX Runtime chose CPUExecution"):
        Session(blur(tmp_path / "net.onnx"), "cuda", 1)


def test_a_runtime_without_cuda_says_what_it_has(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"has no CUDA \(it has CPUExecutionProvider\)"):
        choose_device("cuda")


def test_a_broken_installation_is_named(monkeypatch):
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    with pytest.raises(DeviceError, match="overwrite each other"):
        choose_device("cpu")


def test_unknown_devices():
    with pytest.raises(OptionError, match=r"unknown device 'tpu'\. There are: auto, cpu, cuda"):
        choose_device("tpu")


def test_running(tmp_path):
    session = Session(blur(tmp_path / "net.onnx"), "cpu", 1)
    assert session.provider == "CPUExecutionProvider"
    assert session.inputs[0].shape == (None, 1, None, None)
    (found,) = session.run({"image": np.full((1, 1, 9, 9), 0.4)}, ["map"])
    assert found[0, 0, 4, 4] == pytest.approx(0.5, abs=1e-5)
    assert session.seconds > 0


def test_what_onnx_runtime_cannot_load(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"nonsense")
    with pytest.raises(GraphError, match=r"net\.onnx: ONNX Runtime cannot load it: "):
        Session(path, "cpu", 1)


def test_what_it_cannot_run(tmp_path):
    session = Session(blur(tmp_path / "net.onnx", channels=3), "cpu", 1)
    with pytest.raises(InferenceError, match=r"failed on image \(1, 1, 9, 9\): "):
        session.run({"image": np.zeros((1, 1, 9, 9))}, ["map"])


def test_binding_changes_nothing(tmp_path):
    path = blur(tmp_path / "net.onnx")
    free, bound = Session(path, "cpu", 1), Session(path, "cpu", 1, bind=True)
    rng = np.random.default_rng(0)
    for shape in [(1, 1, 9, 9), (1, 1, 9, 9), (2, 1, 12, 8), (1, 1, 9, 9)]:
        image = rng.random(shape, np.float32)
        (found,) = bound.run({"image": image}, ["map"])
        np.testing.assert_array_equal(found, free.run({"image": image}, ["map"])[0])
    # What was returned is not overwritten by the next run.
    (first,) = bound.run({"image": np.zeros((1, 1, 9, 9))}, ["map"])
    kept = first.copy()
    bound.run({"image": np.ones((1, 1, 9, 9))}, ["map"])
    np.testing.assert_array_equal(first, kept)


def test_a_rewritten_graph_finds_the_files_external_data(tmp_path):
    path = blur(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=0)
    skeleton = onnx.load(path, load_external_data=False)
    skeleton.graph.output[0].name = "s"
    session = Session(path, "cpu", 1, model=skeleton.SerializeToString())
    assert [port.name for port in session.outputs] == ["s"]
    (found,) = session.run({"image": np.full((1, 1, 9, 9), 0.4)}, ["s"])
    assert found[0, 0, 4, 4] == pytest.approx(20 * 0.4, rel=1e-5)


def test_values_are_seen(tmp_path):
    path = blur(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name="f"))
    seen = seen_values(path, model.SerializeToString(), {"image": np.zeros((1, 1, 9, 7))})
    assert seen == {"map": ((1, 1, 9, 7), "float32"), "f": ((1, 1, 9, 7), "float32")}
    with pytest.raises(InferenceError, match=r"net\.onnx: ONNX Runtime failed on image \(1, 2, 9"):
        seen_values(path, model.SerializeToString(), {"image": np.zeros((1, 2, 9, 7))})
    with pytest.raises(GraphError, match=r"net\.onnx: ONNX Runtime cannot load it"):
        seen_values(path, b"nonsense", {})
