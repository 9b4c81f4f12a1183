"""MONAI to ONNX: a bundle, as the MONAI model zoo has them.

    python tools/export monai spleen_bundle/ spleen.onnx

Of a bundle the network definition of its inference configuration, its weights and, for the
channels, its metadata are read; its transforms are not: what they do to intensities is said to
`onnx-cte package` or `rank` by --normalize. A MONAI network outside a bundle is a PyTorch network:
`python tools/export torch`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from from_torch import export, fill
from monai.bundle import ConfigParser
from parity import Difference
from torch import nn

CONFIGS = ("inference.json", "inference.yaml", "inference.yml")
NETWORKS = ("network_def", "network", "net")
SIDE = 64


def export_bundle(
    bundle: Path, path: Path, *, sides: Sequence[int] | None = None, fixed: bool = False
) -> dict[tuple[int, ...], Difference]:
    """Write the network of a bundle as one ONNX file, and prove it.

    Parameters
    ----------
    bundle : Path
        A folder with ``configs/``, ``models/model.pt`` (or model.ts) and ``configs/metadata.json``.
    path : Path
    sides : sequence of int or None
        As of `from_torch.export`; None: 64 each, in as many dimensions as the network has.
    fixed : bool

    Returns
    -------
    dict of shape to Difference

    Raises
    ------
    SystemExit
        If there is no bundle, or its parts do not fit.
    parity.Differs
        If the file does not give what the network gives.
    """
    network, channels, dimensions = load_bundle(bundle)
    return export(
        network, path, channels=channels, sides=sides or (SIDE,) * dimensions, fixed=fixed
    )


def load_bundle(bundle: Path) -> tuple[nn.Module, int, int]:
    """The network with its weights, its input channels, and its number of spatial dimensions."""
    folder = bundle / "configs"
    config = next((folder / name for name in CONFIGS if (folder / name).is_file()), None)
    if config is None:
        raise SystemExit(
            f"{bundle} is no MONAI bundle: expected one of {', '.join(CONFIGS)} in {folder}"
        )
    parser = ConfigParser()
    parser.read_config(str(config))
    parser["bundle_root"] = str(bundle)
    key = next((key for key in NETWORKS if key in parser.config), None)
    if key is None:
        raise SystemExit(f"{config} defines no network: expected one of {', '.join(NETWORKS)}")
    network = parser.get_parsed_content(key)
    weights = bundle / "models" / "model.pt"
    if not weights.is_file():
        raise SystemExit(f"{bundle}: there are no weights: expected {weights}")
    fill(network, torch.load(weights, map_location="cpu", weights_only=True), weights)
    return network, *_input(parser, folder / "metadata.json", network, key)


def _input(parser: ConfigParser, metadata: Path, network: nn.Module, key: str) -> tuple[int, int]:
    """Channels and spatial dimensions of the input, as its configuration or metadata have them."""
    dimensions = next(
        dim
        for part in network.modules()
        for kind, dim in ((nn.Conv2d, 2), (nn.Conv3d, 3))
        if isinstance(part, kind)
    )
    stated: Any = parser.config[key].get("in_channels")
    if isinstance(stated, int):
        return stated, dimensions
    if metadata.is_file():
        ports = json.loads(metadata.read_text()).get("network_data_format", {}).get("inputs", {})
        for port in ports.values():
            if "num_channels" in port:
                return int(port["num_channels"]), dimensions
    raise SystemExit(f"{metadata}: how many channels the input has is not said")
