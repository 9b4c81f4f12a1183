"""Plain U-Nets: ways to go up, to normalise, to activate, to join, to export."""

from functools import partial
from pathlib import Path

from families.family import Family

PROBE = (1, 1, 96, 160)
SOLID = (1, 1, 16, 24, 32)
CONCAT = ("concat",) * 3
ADD = ("add",) * 3


def build(
    folder: Path,
    *,
    probe: tuple[int, ...] = PROBE,
    dynamic: str = "byx",
    outputs: tuple[str, ...] = ("output",),
    opset: int = 17,
    dynamo: bool = False,
    kept: bool = False,
    half: bool = False,
    gain: float = 1.5,
    **plan: object,
) -> Path:
    """A `UNet` of that plan, exported."""
    from families.export import export
    from families.unets import Plan, UNet

    return export(
        lambda: UNet(Plan(**plan)),
        folder,
        probe,
        dynamic=dynamic,
        outputs=outputs,
        opset=opset,
        dynamo=dynamo,
        kept=kept,
        half=half,
        gain=gain,
    )


def unet(
    name: str, *, skips: tuple[str, ...] = CONCAT, note: str = "", **options: object
) -> Family:
    """A light family: 4 levels, 64 channels at stride 8."""
    probe = options.get("probe", PROBE)
    return Family(
        name,
        partial(build, **options),
        probe,
        8,
        64,
        skips,
        axes="bczyx" if len(probe) == 5 else "bcyx",
        needs=("torch", "onnxscript") if options.get("dynamo") else ("torch",),
        output=options["outputs"][0] if "outputs" in options else None,
        note=note,
    )


FAMILIES = (
    unet("unet-transposed"),
    unet("unet-nearest", up="nearest"),
    unet("unet-bilinear", up="bilinear", classes=2, final="softmax"),
    unet("unet-shuffle", up="shuffle", final="none"),
    unet("unet-transposed-dynamo", dynamo=True, opset=18),
    unet("unet-nearest-dynamo", dynamo=True, opset=18, up="nearest", norm="batch"),
    unet("unet-static", dynamic="", note="every size is fixed, the batch too"),
    unet("unet-strided", down="stride", up="nearest", norm="batch"),
    unet("unet-batch-folded", norm="batch"),
    unet("unet-batch-kept", norm="batch", kept=True),
    unet("unet-bcr-folded", block="bcr", norm="batch", up="nearest"),
    unet(
        "unet-bcr-kept",
        block="bcr",
        norm="batch",
        up="nearest",
        kept=True,
        note="pytorch-3dunet's order: a BatchNormalization comes right after the Concat",
    ),
    unet("unet-residual-add", skips=ADD, block="residual", join="add", act="elu", up="nearest"),
    unet(
        "unet-residual-add-3d",
        skips=ADD,
        block="residual",
        join="add",
        act="elu",
        up="transposed",
        probe=SOLID,
        dims=3,
        dynamic="bzyx",
    ),
    unet("unet-residual-concat", block="residual", norm="batch"),
    unet("unet-instance", norm="instance", act="leaky"),
    unet("unet-group-static", norm="group", dynamic=""),
    unet("unet-group-dynamic", norm="group"),
    unet("unet-leaky", act="leaky", up="bilinear"),
    unet("unet-swish", act="silu", norm="batch", up="nearest"),
    unet("unet-gelu", act="gelu"),
    unet("unet-gelu-20", act="gelu", opset=20, note="Gelu is one node"),
    unet("unet-3d", probe=SOLID, dims=3, dynamic="bzyx"),
    unet("unet-3d-trilinear", probe=SOLID, dims=3, dynamic="bzyx", up="bilinear", norm="group"),
    unet("unet-match-dynamic", up="match", note="Shape, Gather and Concat feed the Resize"),
    unet("unet-match-static", up="match", dynamic=""),
    unet(
        "unet-batch-of-one",
        one=True,
        dynamic="",
        up="nearest",
        note="a Reshape in the decoder fixes the batch to 1",
    ),
    unet("unet-two-outputs", extra="auxiliary", outputs=("logits", "auxiliary")),
    unet("unet-bottleneck-output", extra="bottleneck", outputs=("logits", "features")),
    unet("unet-squeeze", squeeze=True, note="GlobalAveragePool in the encoder: 1x1 maps"),
    *(
        unet(f"unet-opset-{opset}", opset=opset, norm="batch", up="bilinear")
        for opset in (11, 13, 17, 20)
    ),
)
