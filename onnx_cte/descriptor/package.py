"""Reads a package of the BioImage Model Zoo, format 0.4 or 0.5, without touching the network.

The zoo's own library validates the description and turns 0.4 into 0.5. It is slow to import and
only needed here, hence imported inside the functions.
"""

import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from onnx_cte.descriptor import ModelDescription
from onnx_cte.descriptor.converting import FRAMEWORKS, foreign
from onnx_cte.descriptor.legacy import adapted
from onnx_cte.descriptor.translation import translated
from onnx_cte.descriptor.validating import validated
from onnx_cte.errors import DescriptorError, OptionError

DESCRIPTIONS = (
    *("bioimageio.yaml", "rdf.yaml", "model.yaml"),
    *("bioimageio.yml", "rdf.yml", "model.yml"),
)
"""What a description is called, or ends in after a dot, as in ``unet.rdf.yaml``; the zoo's own
library takes no ``.yml``, and people write it."""

_WIDTH = 320  # letters of what is wrong with a YAML file
_LEFT_PACKED = {*FRAMEWORKS, ".zip"}  # bundles of TensorFlow are zips within the zip
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)


def description_among(names: Iterable[str]) -> str | None:
    """The name of the description among the files of a folder, as the zoo would choose it.

    Examples
    --------
    >>> description_among(["weights.onnx", "unet.rdf.yaml"]), description_among(["notes.yaml"])
    ('unet.rdf.yaml', None)
    """
    found = sorted(names)
    for known in DESCRIPTIONS:
        for name in found:
            if name == known or name.endswith(f".{known}"):
                return name
    return None


def read_package(path: Path | str, workdir: Path | None = None) -> ModelDescription:
    """Read a model package: the folder, the description in it, or a zip file of the folder.

    Parameters
    ----------
    path : Path or str
    workdir : Path or None
        Where to unpack a zip file. It has to exist for as long as the description is used.

    Returns
    -------
    ModelDescription
        With absolute paths. Hashes of the weights and the test tensors, where given, were checked.

    Raises
    ------
    DescriptorError
        If the description is invalid, its files are missing or not those described, or it asks
        for what we cannot do; without ONNX weights, the text has the command that makes them.
    OptionError
        If a zip file is given without a `workdir`.
    """
    path = place = Path(path)
    package = path.name
    if path.is_file() and (reason := foreign(path)):
        raise DescriptorError(reason)
    if path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        if workdir is None:
            raise OptionError(f"{path.name} is a zip file; give a workdir to unpack it into")
        path = unpack(path, workdir)
    source = _find(path, package)
    if path.is_file():
        package, place = path.absolute().parent.name, path.parent
    try:
        written = _load(source)
        described = validated(adapted(written), source)
        return translated(described, written, source.parent.absolute(), place)
    except DescriptorError as error:
        raise DescriptorError(f"{package}/{source.name}: {error}") from error


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a zip file into a new folder of its own, without weights of other frameworks.

    Those may be large, and nothing here reads them; they are told by the endings of their names.

    Parameters
    ----------
    archive : Path
    into : Path
        Folder in which the new folder is made; it is made too if need be.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    DescriptorError
        If the file cannot be unpacked, or a member would come to lie outside the folder; then
        nothing is left behind.
    """
    into.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{archive.stem}-", dir=into))
    try:
        with zipfile.ZipFile(archive) as members:
            wanted = []
            for name in members.namelist():
                member = PurePosixPath(name.replace("\\", "/"))
                if member.is_absolute() or ".." in member.parts or ":" in member.as_posix():
                    raise DescriptorError(
                        f"{archive.name}: member '{name}' would be unpacked outside its folder; "
                        "nothing was unpacked"
                    )
                if member.suffix.lower() not in _LEFT_PACKED:
                    wanted.append(name)
            members.extractall(folder, wanted)
    except (DescriptorError, OSError, *_BROKEN_ZIP) as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, DescriptorError):
            raise
        raise DescriptorError(f"{archive.name} cannot be unpacked: {error}") from error
    return folder


def _find(path: Path, package: str) -> Path:
    """The description: the path itself, in the folder, or in the only folder within."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise DescriptorError(f"{path}: there is no such file or folder")
    inner = [p for p in path.iterdir() if p.is_dir() and p.name != "__MACOSX"]
    for folder in [path, *(inner if len(inner) == 1 else [])]:
        if name := description_among(p.name for p in folder.iterdir() if p.is_file()):
            return folder / name
    raise DescriptorError(
        f"{package}: no model description; expected a file bioimageio.yaml or rdf.yaml"
    )


def _load(source: Path) -> dict[str, Any]:
    """The description as written, if it is of a kind that can be read."""
    import ruyaml
    from bioimageio.spec.utils import read_yaml

    try:
        content: Any = read_yaml(source)
    except (ruyaml.error.YAMLError, UnicodeDecodeError) as error:
        place = " ".join(str(error).split())
        raise DescriptorError(f"no readable YAML: {place[:_WIDTH]}") from error
    if not isinstance(content, dict) or content.get("type") != "model":
        raise DescriptorError("describes no model (expected an entry 'type: model')")
    version = content.get("format_version")
    if not isinstance(version, str) or not re.match(r"0\.[45]\.", version):
        raise DescriptorError(f"has format {version}; expected 0.4.x or 0.5.x")
    if any(i.get("output_of") for i in content.get("inputs") or () if isinstance(i, dict)):
        raise DescriptorError("its input is the output of another model; expected an image")
    return content
