"""Networks without skips, with other decoders, and such that have no bottleneck."""

from functools import partial
from pathlib import Path

from families.family import Family

PROBE = (1, 1, 96, 160)


def build(folder: Path, *, kind: str, dynamic: str = "byx") -> Path:
    """A network of `families.others`, exported."""
    from families import others
    from families.export import export

    return export(getattr(others, kind), folder, PROBE, dynamic=dynamic)


FAMILIES = (
    Family("fcn", partial(build, kind="FCN"), PROBE, 8, 64, (), note="classes lie at stride 8"),
    Family(
        "autoencoder",
        partial(build, kind="Autoencoder"),
        PROBE,
        4,
        12,
        (),
        note="the code comes from a convolution, with no activation before the Resize",
    ),
    Family(
        "deeplab",
        partial(build, kind="DeepLab"),
        PROBE,
        8,
        24,
        ("concat",),
        note="the image-pooling branch is 1x1; 24 channels are those after the branches are "
        "projected, 64 those before them",
    ),
    Family(
        "single-scale", partial(build, kind="SingleScale"), PROBE, None, None, None, refused="scale"
    ),
    Family("hrnet", partial(build, kind="HRNet"), PROBE, None, None, None, refused="bottleneck"),
)
