"""Writes the description of a package, and has the zoo's own library check it with its files."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx_cte.descriptor.validating import validated

NAME = "bioimageio.yaml"
FORMAT = "0.5.14"
"""Version of the format that is written."""


def write_description(content: Mapping[str, Any], folder: Path) -> str:
    """Write ``bioimageio.yaml`` beside the files it describes.

    Parameters
    ----------
    content : mapping
        The description, plain data.
    folder : Path

    Returns
    -------
    str
        What checked it: the library with its version.

    Raises
    ------
    DescriptorError
        If the zoo's library does not accept the description, or the files are not those described.
    """
    import bioimageio.spec
    from bioimageio.spec.utils import read_yaml, write_yaml

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_yaml(dict(content), folder / NAME)
        # As it will be read, not as it was meant.
        found: Any = read_yaml(folder / NAME)
        validated(found, folder / NAME, files=True)
    return f"bioimageio.spec {bioimageio.spec.__version__}"
