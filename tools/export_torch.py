"""Export a trained U-Net to ONNX and describe it for the BioImage Model Zoo.

::

    python tools/export_torch.py OUT_FOLDER/checkpoint.pt models/nuclei/NAME --sigmoid zoo

The folder receives ``weights.onnx`` (one file, dynamic batch, height and width), ``test_input.npy``
(simulated, never a real image), ``test_output.npy`` (computed by torch), ``README.md`` and
``bioimageio.yaml``, which names the decoder too if the network was trained with ``--objects``. What
torch and ONNX Runtime give is compared at two sizes and a batch of two; the export fails if they
differ by more than 1e-4. The same checkpoint gives the same files.
"""

import argparse
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from export.parity import TOLERANCE, differences
from normalising import normalised, step_of, told
from numpy.typing import NDArray
from targets import CHANNELS
from torch import nn
from unet import UNet
from zoo_folder import describe, read_origin, simulate, update_index

OPSET = 18
BACKGROUND = "background"
"""The role of the first of several classes."""

PARITY_SHAPES = ((1, 64, 64), (1, 256, 320), (2, 128, 128))
"""Batch, height and width of the inputs on which torch and ONNX Runtime are compared."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the folder of one model."""
    options = _parser().parse_args(argv)
    trained = torch.load(options.checkpoint, weights_only=True)
    if trained["judged_on"] != "test":
        raise SystemExit(
            f"{options.checkpoint}: trained with --holdout, for comparing recipes; train without "
            "it to export"
        )
    origin = read_origin(options.origins, trained["domain"])
    if len(origin["background"]) != trained["channels"]:
        raise SystemExit(
            f"{options.origins}: [{trained['domain']}] has {len(origin['background'])} channels, "
            f"the network has {trained['channels']}"
        )
    network = load_network(trained)
    folder = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    in_zoo = options.sigmoid == "zoo"
    last = nn.Softmax(1) if trained["settings"].get("classes") else nn.Sigmoid()
    exported = network if in_zoo else nn.Sequential(network, last).eval()
    export(exported, trained["channels"], folder / "weights.onnx")
    for shape, difference in parity(exported, trained["channels"], folder / "weights.onnx").items():
        print(f"{folder.name}: {shape}: largest |torch - onnxruntime| {difference:.1e}")
        if not difference <= TOLERANCE:
            raise SystemExit(f"{folder}: {shape}: differs by more than {TOLERANCE}")
    image = simulate(origin)
    how = trained["settings"].get("normalize", "percentile")
    with torch.inference_mode():
        output = last(network(torch.from_numpy(normalised(image, how))))
    np.save(folder / "test_input.npy", image)
    np.save(folder / "test_output.npy", output.numpy())
    (folder / "README.md").write_text(readme(folder.name, origin, trained, in_zoo))
    describe(
        folder,
        folder.name,
        origin,
        channels=trained["channels"],
        multiple=network.multiple,
        normalisation=step_of(how),
        opset=OPSET,
        last_in_zoo=in_zoo,
        exclusive=bool(trained["settings"].get("classes")),
        outputs=_outputs(trained),
        decoder=trained.get("decoder"),
        trained_on=(trained["domain"], *also) if (also := trained.get("also")) else (),
    )
    if options.index:
        update_index(options.index, folder, folder.name, origin)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder.name}: {size} bytes in {folder}")


def load_network(trained: Mapping[str, Any]) -> UNet:
    """The network of a checkpoint of ``train_unet.py``, in evaluation mode."""
    settings = trained["settings"]
    network = UNet(
        trained["channels"],
        settings["features"],
        settings["dropout"],
        len(_outputs(trained)),
        residual=settings.get("residual", False),
        upsample=settings.get("upsample", "nearest"),
    )
    network.load_state_dict(trained["weights"])
    return network.eval()


def export(network: nn.Module, channels: int, path: Path) -> None:
    """Write a network as one ONNX file with dynamic batch, height and width.

    Batch normalisation is folded into the convolutions by the exporter.
    """
    free = {0: "N", 2: "H", 3: "W"}
    # The exporter by torch.export would need onnxscript.
    torch.onnx.export(
        network,
        (torch.zeros(1, channels, 64, 64),),
        path,
        input_names=["image"],
        output_names=["foreground"],
        dynamic_axes={"image": free, "foreground": free},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(path), full_check=True)


def parity(network: nn.Module, channels: int, path: Path) -> dict[tuple[int, ...], float]:
    """Largest absolute difference of torch and ONNX Runtime (CPU), by the shape of the input."""

    def run(image: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.inference_mode():
            found: NDArray[np.floating] = network(torch.from_numpy(image)).numpy()
        return found

    wanted = [(batch, channels, *sides) for batch, *sides in PARITY_SHAPES]
    return {shape: found.absolute for shape, found in differences(run, path, wanted).items()}


def readme(name: str, origin: Mapping[str, Any], trained: Mapping[str, Any], in_zoo: bool) -> str:
    """Documentation of one model, as the zoo asks for it."""
    settings = trained["settings"]
    levels = ", ".join(map(str, settings["features"]))
    crop = settings["crop"]
    last = "softmax" if settings.get("classes") else "sigmoid"
    full = settings.get("augment", "full") == "full"
    paragraphs = [
        f"# {origin['title']}" + (" (objects)" if trained["settings"].get("objects") else ""),
        f"`{name}` is a small 2-D U-Net ({len(settings['features'])} levels of {levels} channels, "
        f"channel dropout {settings['dropout']} at the bottleneck) that gives the probability of "
        f"the {' and of the '.join(_outputs(trained))}. "
        + (
            f"The graph ends in logits; the {last} is a postprocessing step of `bioimageio.yaml`. "
            if in_zoo
            else f"The {last} is part of the graph. "
        )
        + _meaning(trained),
        "## Training",
        f"Data: {origin['data']} (domain `{trained['domain']}`), from <{origin['origin']}> at "
        f"commit {origin['origin_commit']}, licence {origin['data_licence']}. Cite: "
        f"{origin['cite']}"
        + (f", doi:{origin['doi']}." if "doi" in origin else ".")
        + (f" And on `{'`, `'.join(also)}`." if (also := trained.get("also")) else ""),
        f"Trained on {trained['train_images']} images for {settings['steps']} steps of "
        f"{settings['batch']} crops of {crop}x{crop} pixels with seed {settings['seed']}: "
        f"cross-entropy plus Dice loss; flips, quarter turns"
        + (", gamma, contrast, brightness and noise." if full else "; intensities as they are.")
        + (
            f" A share of {settings['grey_chance']} of the crops was shown grey in all three "
            "channels, so that a grey image repeated three times can be used too."
            if trained["channels"] == 3
            else ""
        ),
        told(settings.get("normalize", "percentile")),
        "## Validation",
        f"F1 of the foreground pixels on {trained['judged_images']} images of the same domain that "
        f"played no part in training or in any choice: mean {trained['mean']:.3f}, median "
        f"{trained['median']:.3f}, all pixels pooled {trained['pooled']:.3f}." + _objects(trained),
        "The model has seen one kind of image; judge it anew on yours before you use it. The test "
        "tensors are simulated ellipses: they check that a program runs the model right, not how "
        "good it is.",
        "## Licence",
        f"Weights, description and test tensors: {origin['licence']}."
        if origin["licence"]
        else "The licence of the data allows no weights to be passed on: for use where they were "
        "built.",
    ]
    # A heading or a paragraph a block; words are never broken, so that links stay whole.
    blocks = (
        textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
        for text in paragraphs
    )
    return "\n\n".join(blocks) + "\n"


def _outputs(trained: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the network's outputs."""
    if classes := trained["settings"].get("classes"):
        return (BACKGROUND, *classes)
    return CHANNELS if trained["settings"].get("objects") else CHANNELS[:1]


def _meaning(trained: Mapping[str, Any]) -> str:
    """How the maps are read, for the documentation."""
    settings = trained["settings"]
    if settings.get("classes"):
        return "Of the classes the most likely one is taken."
    if not settings.get("objects"):
        return "The foreground is where the probability exceeds 0.5; touching objects stay joined."
    drawn = (
        f"The boundary is the outline of every object, {settings['outline']} pixels on either "
        "side. "
        if settings["boundary"] == "outline"
        else "The boundary is what the data draw between the objects. "
    )
    return (
        f"{drawn}Objects are made by the decoder `{trained['decoder']['name']}`: what is "
        "foreground and no boundary (both at 0.5) is split into connected components, which grow "
        f"back over the foreground; objects under {trained['decoder']['min_size']} pixels are "
        "dropped."
    )


def _objects(trained: Mapping[str, Any]) -> str:
    """What the test images say of boundary and objects, for the documentation."""
    if not trained["settings"].get("objects"):
        return ""
    boundary, found = trained["boundary"], trained["objects"]
    return (
        f" F1 of the boundary pixels: mean {boundary['mean']:.3f}. Objects: mean average precision "
        f"over the IoU thresholds 0.5 to 0.95 {found['map']:.3f}, F1 at 0.5 {found['f1_50']:.3f} "
        "(means over the images)."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Export a trained U-Net to ONNX and describe it for the BioImage Model Zoo.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", type=Path, help="checkpoint.pt of train_unet.py")
    add("folder", type=Path, help="folder to write; its name becomes the model's")
    add(
        "--sigmoid",
        choices=["zoo", "graph"],
        default="zoo",
        help="the sigmoid (of classes, the softmax): a step of the description, or in the graph",
    )
    models = Path(__file__).resolve().parent.parent / "models"
    add("--origins", type=Path, default=models / "origins.toml", help="data, licences, citations")
    add("--index", type=Path, help="CSV of all files to bring up to date")
    return parser


if __name__ == "__main__":
    main()
