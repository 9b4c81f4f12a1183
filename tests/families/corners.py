"""The families that are written by hand."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from families.family import Family
from families.handmade import FLOAT, LastSketch, Sketch, above, choose, save

PROBE = (1, 1, 96, 160)
CONCAT = ("concat",) * 3


def constants(folder: Path) -> Path:
    sketch = Sketch(constants=True)
    return save(sketch.model(sketch.decoder(*sketch.encoder("image"))), folder)


def identities(folder: Path) -> Path:
    """Both halves read the same biases and kernels, through Identity, as torch's exporter does."""
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    kernel = sketch.weight(sketch.draw(64, 64, 3, 3, spread=1.5 / 24), "shared_kernel")
    bias = sketch.weight(sketch.draw(64, spread=0.1), "shared_bias")
    twins = [sketch.add("Identity", kernel), sketch.add("Identity", bias)]
    x = sketch.add("Relu", sketch.add("Conv", x, *twins, pads=[1] * 4))
    second = [sketch.add("Identity", name) for name in twins]
    wide = sketch.up(x, 64, 64)
    wide = sketch.add("Relu", sketch.add("Conv", wide, *second, pads=[1] * 4))
    x = sketch.add("Concat", skips[2], sketch.conv(wide, 64, 32), axis=1)
    x = sketch.block(x, 64, 32)
    return save(sketch.model(sketch.decoder(x, skips[:2], (8, 16, 32))), folder)


def weights_as_inputs(folder: Path) -> Path:
    """Initialisers listed as inputs too, as files of IR version 3 do."""
    sketch = Sketch()
    model = sketch.model(sketch.decoder(*sketch.encoder("image")))
    for name, array in sketch.weights.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    return save(model, folder)


def twice(folder: Path) -> Path:
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    return save(sketch.model(sketch.decoder(sketch.add("Add", x, x), skips)), folder)


def function(folder: Path) -> Path:
    """The first joining in the decoder is a call of a local function."""
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    opset = helper.make_opsetid("", 17)
    body = [
        helper.make_node("Concat", ["skip", "coarse"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "kernel"], ["mixed"], pads=[1] * 4),
        helper.make_node("Relu", ["mixed"], ["joined"]),
    ]
    names = ["skip", "coarse", "kernel"]
    sketch.functions.append(helper.make_function("local", "Join", names, ["joined"], body, [opset]))
    kernel = sketch.weight(sketch.draw(32, 64, 3, 3, spread=1.5 / 24))
    x = sketch.add("Join", skips[2], sketch.up(x, 64, 32), kernel, domain="local")
    return save(sketch.model(sketch.decoder(x, skips[:2], (8, 16, 32))), folder)


def if_across(folder: Path) -> Path:
    """An If in the decoder reads the bottleneck from the graph around it."""
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    x = choose(sketch, above(sketch, skips[0], -1e9), x)
    return save(sketch.model(sketch.decoder(x, skips)), folder)


def if_encoder(folder: Path) -> Path:
    sketch = Sketch()
    x = sketch.block("image", 1, 8)
    x = choose(sketch, above(sketch, x, -1e9), x)
    deep = sketch.block(sketch.pool(x), 8, 16)
    deepest = sketch.block(sketch.pool(deep), 16, 32)
    return save(sketch.model(sketch.decoder(deepest, [x, deep], (8, 16, 32))), folder)


def silenced(folder: Path) -> Path:
    """The decoder multiplies what comes from the bottleneck by zero."""
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    x = sketch.add("Mul", sketch.up(x, 64, 64), sketch.weight(np.zeros(1, np.float32)))
    x = sketch.block(sketch.add("Concat", skips[2], sketch.conv(x, 64, 32), axis=1), 64, 32)
    return save(sketch.model(sketch.decoder(x, skips[:2], (8, 16, 32))), folder)


def dead_end(folder: Path) -> Path:
    """The deepest map feeds a second output only; the judged one hangs on the map above it."""
    sketch = Sketch()
    x, skips = sketch.encoder("image")
    seen = sketch.add("GlobalAveragePool", x)
    model = sketch.model(sketch.decoder(skips[2], skips[:2], (8, 16, 32)))
    model.graph.output.append(helper.make_tensor_value_info(seen, FLOAT, [None] * 4))
    return save(model, folder)


def channels_last(folder: Path, *, inside: bool) -> Path:
    """The image, and with `inside` all maps between convolutions, are (batch, y, x, channel)."""
    sides = ("batch", "height", "width", 1)
    if inside:
        sketch = LastSketch()
        return save(sketch.model(sketch.decoder(*sketch.encoder("image")), sides=sides), folder)
    sketch = Sketch()
    # With one channel a Reshape swaps the axes, which is what tf2onnx makes of it.
    sizes = sketch.add(
        "Gather", sketch.add("Shape", "image"), sketch.weight(np.array([0, 3, 1, 2]))
    )
    x = sketch.decoder(*sketch.encoder(sketch.add("Reshape", "image", sizes)))
    return save(sketch.model(sketch.add("Transpose", x, perm=[0, 2, 3, 1]), sides=sides), folder)


def external(folder: Path) -> Path:
    sketch = Sketch()
    path = folder / "model.onnx"
    onnx.save(
        sketch.model(sketch.decoder(*sketch.encoder("image"))),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    return path


def external_2gb(folder: Path, width: int = 5500) -> Path:
    """A U-Net with two layers before its bottleneck that hold more than 2 GiB between them.

    Two, as onnxruntime reorders the kernel of a Conv into memory of at most 2 GiB.
    """
    sketch = Sketch()
    deepest, skips = sketch.encoder("image", (4, 8, 16))
    x = sketch.add("Relu", sketch.conv(sketch.pool(deepest), 16, width))
    kernels = ("wide_kernel", "wider_kernel")
    for kernel in kernels:
        x = sketch.add("Relu", sketch.add("Conv", x, kernel, pads=[1] * 4))
    x = sketch.add("Relu", sketch.conv(x, width, 32, 1))
    model = sketch.model(sketch.decoder(x, [*skips, deepest], (4, 8, 16, 32)))
    with (folder / "weights.bin").open("wb") as file:
        for tensor in model.graph.initializer:
            raw = tensor.raw_data
            place(tensor, file.tell(), len(raw))
            file.write(raw)
        spread = np.float32(1.5 / (3 * width**0.5))
        for kernel in kernels:
            wide = TensorProto(name=kernel, data_type=FLOAT, dims=(width, width, 3, 3))
            place(wide, file.tell(), 36 * width**2)
            model.graph.initializer.append(wide)
            for _ in range(width):  # a row at a time: the whole would take a gigabyte of memory
                file.write((spread * sketch.rng.standard_normal(9 * width, np.float32)).tobytes())
    return save(model, folder)


def place(tensor: TensorProto, offset: int, length: int) -> None:
    """Say that the tensor's data lie there in "weights.bin"."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "weights.bin", "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))


def drawn(name: str, build: Callable[[Path], Path], **options: object) -> Family:
    """A family that needs nothing but onnx."""
    given = {"probe": PROBE, "stride": 8, "channels": 64, "skips": CONCAT, "needs": ()} | options
    return Family(name, build, **given)


FAMILIES = (
    drawn("hand-constants", constants, note="weights are Constant nodes"),
    drawn("hand-identities", identities, note="both halves share weights through Identity"),
    drawn(
        "hand-weights-as-inputs", weights_as_inputs, note="initialisers are inputs with defaults"
    ),
    drawn("hand-twice", twice, note="the decoder adds the bottleneck to itself"),
    drawn("hand-function", function, note="a local function in the decoder joins the first skip"),
    drawn(
        "hand-if-across",
        if_across,
        stride=None,
        channels=None,
        skips=None,
        refused="If",
        note="an If in the decoder reads the bottleneck without naming it as an input",
    ),
    drawn("hand-if-encoder", if_encoder, stride=4, channels=32, skips=("concat",) * 2),
    drawn(
        "hand-silenced",
        silenced,
        effect=False,
        note="the decoder multiplies what comes from the bottleneck by zero",
    ),
    drawn(
        "hand-dead-end",
        dead_end,
        stride=4,
        channels=32,
        skips=("concat",) * 2,
        output="map",
        note="deeper maps feed the other output only",
    ),
    drawn("hand-external", external, note="every weight lies in weights.bin"),
    drawn(
        "external-2gb",
        external_2gb,
        probe=(1, 1, 16, 24),
        channels=32,
        tolerance=1e-4,
        slow=True,
        note="2.2 GB of weights",
    ),
    *(
        drawn(
            f"hand-channels-last-{name}",
            partial(channels_last, inside=inside),
            probe=(1, 96, 160, 1),
            axes="byxc",
            note=note,
        )
        for name, inside, note in (
            ("outer", False, "a Reshape and a Transpose at the ends, as tf2onnx leaves them"),
            ("inside", True, "a Transpose around every convolution, channels joined on axis 3"),
        )
    ),
)
