"""Where the models lie that come with the package."""

from pathlib import Path

from onnx_cte.errors import NothingToRank


def bundled_models(folder: str = "nuclei") -> Path:
    """Folder of bundled models: in an installed wheel, or in the checkout.

    Parameters
    ----------
    folder : str
        ``nuclei``: small networks that segment nuclei, for the demo.

    Returns
    -------
    Path

    Raises
    ------
    NothingToRank
        If the installation holds no models.

    Examples
    --------
    >>> bundled_models().name
    'nuclei'
    """
    package = Path(__file__).parent
    for place in (package / "models" / folder, package.parent / "models" / folder):
        if place.is_dir():
            return place
    raise NothingToRank(
        f"the bundled models '{folder}' are not in this installation; install the package anew"
    )
