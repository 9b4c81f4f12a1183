"""Networks of other packages: MONAI, transformers, Keras. Each is imported when it is built."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from families.family import Family

FLAT = (1, 1, 96, 160)
SOLID = (1, 1, 32, 48, 64)
WINDOWS = (1, 1, 64, 96)


def monai(
    folder: Path,
    *,
    kind: str,
    probe: tuple[int, ...],
    options: Mapping[str, Any],
    dynamic: str = "",
    outputs: tuple[str, ...] = ("output",),
    gain: float = 1.5,
    opset: int = 17,
) -> Path:
    """A network of ``monai.networks.nets``; with several `outputs`, its heads as well."""
    from monai.networks import nets
    from torch import nn

    from families.export import export

    class Wrapped(nn.Module):
        """Gives a tensor where the network gives a list, and the heads if they are asked for."""

        def __init__(self) -> None:
            super().__init__()
            self.net = getattr(nets, kind)(**options)

        def forward(self, x):
            if len(outputs) > 1:  # DynUNet keeps its heads for training: the same maps, taken apart
                return self.net.output_block(self.net.skip_layers(x)), *self.net.heads
            y = self.net(x)
            return y[0] if isinstance(y, list | tuple) else y

    return export(Wrapped, folder, probe, dynamic=dynamic, outputs=outputs, gain=gain, opset=opset)


def segformer(folder: Path, *, probe: tuple[int, ...]) -> Path:
    """A tiny SegFormer; its quarter-size logits are brought to full size, as its users do."""
    from torch import nn
    from torch.nn import functional
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    from families.export import export

    config = SegformerConfig(
        num_channels=1,
        num_labels=2,
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
    )

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = SegformerForSemanticSegmentation(config)

        def forward(self, x):
            logits = self.net(pixel_values=x).logits
            return functional.interpolate(logits, size=x.shape[2:], mode="bilinear").softmax(1)

    return export(Wrapped, folder, probe, gain=1.0)


def keras_unet(folder: Path, *, up: str) -> Path:
    """A Keras U-Net, channels last, through tf2onnx."""
    import keras
    import tensorflow as tf
    import tf2onnx

    layers = keras.layers
    keras.utils.clear_session()  # else the names of layers go on counting
    keras.utils.set_random_seed(0)
    start = keras.initializers.HeNormal

    def twice(x, size: int):
        for _ in range(2):
            kernel, bias = start(), keras.initializers.RandomNormal(stddev=0.1)
            conv = layers.Conv2D(
                size, 3, padding="same", kernel_initializer=kernel, bias_initializer=bias
            )
            x = layers.Activation("relu")(layers.BatchNormalization()(conv(x)))
        return x

    # Keras cannot resize maps of unknown size bilinearly inside a tf.function.
    sides = (96, 160) if up == "bilinear" else (None, None)
    image = keras.Input((*sides, 1))
    x, skips = twice(image, 8), []
    for size in (16, 32, 64):
        skips.append(x)
        x = twice(layers.MaxPooling2D()(x), size)
    for size, skip in zip((32, 16, 8), skips[::-1], strict=True):
        if up == "transposed":
            x = layers.Conv2DTranspose(size, 2, strides=2, kernel_initializer=start())(x)
        else:
            x = layers.UpSampling2D(interpolation=up)(x)
        x = twice(layers.Concatenate()([skip, x]), size)
    x = layers.Conv2D(1, 1, activation="sigmoid")(x)
    model = keras.Model(image, x)
    shape = [tf.TensorSpec((None, *sides, 1), tf.float32, name="image")]
    path = folder / "model.onnx"
    tf2onnx.convert.from_function(
        tf.function(lambda image: model(image, training=False), input_signature=shape),
        input_signature=shape,
        opset=17,
        output_path=str(path),
    )
    return path


def net(
    name: str,
    kind: str,
    stride: int,
    channels: int,
    skips: tuple[str, ...] | None,
    *,
    options: Mapping[str, Any],
    probe: tuple[int, ...] = FLAT,
    output: str | None = None,
    needs: tuple[str, ...] = ("torch", "monai"),
    note: str = "",
    tolerance: float = 1e-5,
    **settings: object,
) -> Family:
    """A family out of MONAI, with one channel in and one or two out."""
    sizes = {"in_channels": 1, "out_channels": 2, "spatial_dims": len(probe) - 2}
    return Family(
        name,
        partial(monai, kind=kind, probe=probe, options={**sizes, **options}, **settings),
        probe,
        stride,
        channels,
        skips,
        needs=needs,
        axes="bcyx" if len(probe) == 4 else "bczyx",
        output=output,
        heavy=True,
        note=note,
        tolerance=tolerance,
    )


STEPS = {"channels": (8, 16, 32, 64), "strides": (2, 2, 2)}
DYNAMIC_UNET = {
    "kernel_size": (3, 3, 3, 3),
    "strides": (1, 2, 2, 2),
    "upsample_kernel_size": (2, 2, 2),
    "filters": (8, 16, 32, 64),
}
HEADS = {**DYNAMIC_UNET, "deep_supervision": True, "deep_supr_num": 2}
BOTTOM = (
    "the deepest map (64 channels) is joined with its own input (32) at stride 8 before it goes "
    "up: 96 channels carry everything, 64 would make the join a third skip connection"
)

FAMILIES = (
    net("monai-unet", "UNet", 8, 96, ("concat",) * 2, options=STEPS, dynamic="byx", note=BOTTOM),
    net(
        "monai-unet-residual",
        "UNet",
        8,
        96,
        ("concat",) * 2,
        options={**STEPS, "num_res_units": 2, "norm": "batch"},
        dynamic="byx",
        note=BOTTOM,
    ),
    net(
        "monai-unet-residual-3d",
        "UNet",
        8,
        96,
        ("concat",) * 2,
        options={**STEPS, "num_res_units": 2},
        probe=SOLID,
        note=BOTTOM,
    ),
    net(
        "monai-attention",
        "AttentionUnet",
        8,
        64,
        None,
        options=STEPS,
        dynamic="byx",
        note="each skip is weighed by a gate that looks at what comes up from below",
    ),
    net(
        "monai-plusplus",
        "BasicUNetPlusPlus",
        16,
        64,
        None,
        options={"features": (8, 8, 16, 32, 64, 8)},
        dynamic="byx",
        note="maps of every scale go up without passing the bottleneck; several enter one Concat",
    ),
    net(
        "monai-segresnet",
        "SegResNet",
        8,
        64,
        ("add",) * 3,
        options={"blocks_down": (1, 1, 1, 1)},
        note="64 channels after the last residual sum; a 1x1 convolution makes them 32 at the "
        "same stride before the Resize",
    ),
    net(
        "monai-segresnet-3d",
        "SegResNet",
        8,
        64,
        ("add",) * 3,
        options={"blocks_down": (1, 1, 1, 1)},
        probe=SOLID,
        note="as monai-segresnet",
    ),
    net(
        "monai-vnet",
        "VNet",
        16,
        256,
        ("concat",) * 4,
        options={"dropout_dim": 2},
        note="the input is repeated to 16 channels and added to the first convolution",
    ),
    net("monai-dynunet", "DynUNet", 8, 64, ("concat",) * 3, options=DYNAMIC_UNET, dynamic="byx"),
    net(
        "monai-dynunet-3d",
        "DynUNet",
        8,
        64,
        ("concat",) * 3,
        options={**DYNAMIC_UNET, "res_block": True},
        probe=SOLID,
    ),
    net(
        "monai-dynunet-heads",
        "DynUNet",
        8,
        64,
        ("concat",) * 3,
        options=HEADS,
        dynamic="byx",
        outputs=("full", "half", "quarter"),
        output="full",
        note="deep-supervision heads are outputs too",
    ),
    net(
        "monai-unetr",
        "UNETR",
        16,
        48,
        ("concat",) * 4,
        options={
            "img_size": WINDOWS[2:],
            "feature_size": 8,
            "hidden_size": 48,
            "mlp_dim": 96,
            "num_heads": 4,
        },
        probe=WINDOWS,
        needs=("torch", "monai", "einops"),
        gain=1.0,
        tolerance=1e-4,
        note="tokens (batch, place, channel) become maps at stride 16; every skip starts there too",
    ),
    net(
        "monai-swin",
        "SwinUNETR",
        32,
        192,
        ("concat",) * 5,
        options={
            "feature_size": 12,
            "depths": (2, 1, 1, 1),
            "num_heads": (2, 2, 2, 2),
            "window_size": 4,
        },
        probe=WINDOWS,
        needs=("torch", "monai", "einops"),
        gain=1.0,
        tolerance=1e-4,
        note="shifted windows: rolled, padded and cut maps, channels last in between",
    ),
    Family(
        "segformer",
        partial(segformer, probe=FLAT),
        FLAT,
        32,
        32,
        ("concat",) * 3,
        needs=("torch", "transformers"),
        tolerance=1e-4,
        heavy=True,
        note="four scales are brought to stride 4 and joined in one Concat",
    ),
    *(
        Family(
            name,
            partial(keras_unet, up=up),
            (1, 96, 160, 1),
            8,
            64,
            ("concat",) * 3,
            needs=("tensorflow", "tf2onnx"),
            axes="byxc",
            tolerance=1e-4,
            heavy=True,
            note=note,
        )
        for name, up, note in (
            ("keras-unet", "transposed", "channels last; sizes computed for ConvTranspose"),
            ("keras-unet-nearest", "nearest", "channels last; repeats by Tile and Reshape"),
            ("keras-unet-bilinear", "bilinear", "channels last; a Resize to computed sizes"),
        )
    ),
)
