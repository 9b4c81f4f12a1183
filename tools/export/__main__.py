"""Carry a network to ONNX, and prove that the file gives what the network gives.

    python tools/export torch unet.pt unet.onnx --channels 1
    python tools/export torch unet.py:make unet.onnx --weights weights.pth --channels 1
    python tools/export monai some_bundle/ unet.onnx
    python tools/export keras unet.keras unet.onnx
    python tools/export flax unet.py:make unet.onnx --weights params.msgpack --channels 1

The file takes (N, C, [D,] H, W) and gives (N, K, [D,] H, W), whatever the framework; it is written
only if ONNX Runtime gives what the framework gives, at two sizes and in a batch of two. Then:

    onnx-cte inspect unet.onnx
    onnx-cte rank folder_with_it/ images/
    onnx-cte package unet.onnx --axes bcyx --normalize percentile --out unet/
"""

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from parity import Difference, Differs, told


def main(argv: Sequence[str] | None = None) -> None:
    """Export one network."""
    options = _parser().parse_args(argv)
    try:
        found = _export(options)
    except Differs as error:
        raise SystemExit(f"not written: {error}") from error
    except Exception as error:  # Exporters raise any kind on what they do not know.
        traceback.print_exc()
        reason = " ".join(str(error).split())[:200]
        raise SystemExit(
            f"not written: {options.framework} or its exporter failed, as told above: "
            f"{type(error).__name__}: {reason}"
        ) from error
    print(f"{options.path}: written; {options.framework} and ONNX Runtime agree")
    print(told(found))


def _export(options: argparse.Namespace) -> dict[tuple[int, ...], Difference]:
    """By the framework's own module, which is imported for it alone."""
    source, path, sides = options.source, options.path, tuple(options.size or ())
    if options.framework == "monai":
        from from_monai import export_bundle

        return export_bundle(Path(source), path, sides=sides or None, fixed=options.fixed)
    if options.framework == "keras":
        from from_keras import export as export_keras
        from from_keras import load as load_keras

        model, channels, shape = load_keras(Path(source))
        return export_keras(model, path, channels=channels, sides=sides or shape)
    if options.channels is None:
        raise SystemExit(f"{source} does not say how many channels its input has: add --channels")
    if options.framework == "torch":
        from from_torch import export, load

        network = load(source, options.weights)
        how = {"channels": options.channels, "fixed": options.fixed, "dynamo": options.dynamo}
        return export(network, path, sides=sides or (64, 64), **how)
    from from_flax import export as export_flax
    from from_flax import load as load_flax

    apply = load_flax(source, options.weights)
    how = {"channels": options.channels, "fixed": options.fixed}
    return export_flax(apply, path, sides=sides or (64, 64), **how)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tools/export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    frameworks = parser.add_subparsers(dest="framework", required=True, metavar="FRAMEWORK")
    for name, source in (
        ("torch", "TorchScript or .pt2 file, or FILE.py:NAME of a module or of what makes one"),
        ("monai", "folder of a bundle: configs/ and models/model.pt"),
        ("keras", ".keras or .h5 file, or folder of a SavedModel"),
        ("flax", "FILE.py:NAME of a module or of what makes one"),
    ):
        command = frameworks.add_parser(name, help=f"from {source}")
        command.add_argument("source", help=source)
        command.add_argument("path", type=Path, help="ONNX file to write")
        command.add_argument(
            "--size",
            type=int,
            nargs="+",
            help="(depth,) height and width that are traced; to be proven at twice and three times "
            "as much too [default: 64 each]",
        )
        command.set_defaults(channels=None, weights=None, fixed=False, dynamo=False)
        if name in ("torch", "flax"):
            command.add_argument("--channels", type=int, help="channels of the input")
            command.add_argument("--weights", type=Path, help="weights of a network given as code")
        if name != "keras":  # Keras models say themselves whether their size is fixed.
            command.add_argument(
                "--fixed", action="store_true", help="take --size alone, for networks that must"
            )
        if name == "torch":
            command.add_argument(
                "--dynamo", action="store_true", help="use the exporter by torch.export"
            )
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
