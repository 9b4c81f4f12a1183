"""Rankings as files: JSON for machines, CSV for spreadsheets, a page to look at."""

from collections.abc import Sequence
from pathlib import Path

from onnx_cte.agreement import Agreement
from onnx_cte.documents import ranking_from_json, ranking_to_json
from onnx_cte.errors import OutputError
from onnx_cte.page import page_of
from onnx_cte.pictures import Picture, pictures_from_json, pictures_to_json
from onnx_cte.ranking import Ranking
from onnx_cte.sheets import images_csv, ranking_csv
from onnx_cte.writing import (
    beside_ranking,
    json_text,
    prepare_folder,
    read_document,
    remove_files,
    replace_file,
)

PICTURES = "pictures.json"


def write_report(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.json``, ``ranking.csv``, ``images.csv`` and ``index.html``, in this order.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        Made if it is not there; files of the same names are replaced, whole or not at all.

    Raises
    ------
    OutputError
        If the folder cannot be written. What was written before stays: on a disk that fills up the
        ranking is safe, and ``onnx-cte report`` writes the others once there is room.

    See Also
    --------
    write_page : The page with pictures, and with performance against labels.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> images = oc.Images.from_arrays(discs)
    >>> ranking = oc.rank([steep], images, oc.CTE())
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     oc.write_report(ranking, folder)
    ...     print(*sorted(file.name for file in Path(folder).iterdir()))
    images.csv index.html ranking.csv ranking.json
    """
    write_tables(ranking, folder)
    write_page(ranking, folder)


def write_tables(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.json``, ``ranking.csv`` and ``images.csv``, in this order.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        As in `write_report`.
    """
    path = prepare_folder(folder)
    replace_file(path / "ranking.json", json_text(ranking_to_json(ranking)))
    write_sheets(ranking, path)


def write_sheets(ranking: Ranking, folder: str | Path) -> None:
    """Write ``ranking.csv`` and ``images.csv``.

    The last has a row an image and a column a model.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    with beside_ranking(path):
        replace_file(path / "ranking.csv", ranking_csv(ranking))
        replace_file(path / "images.csv", images_csv(ranking))


def write_page(
    ranking: Ranking,
    folder: str | Path,
    *,
    pictures: Sequence[Picture] = (),
    performance: Ranking | None = None,
    compared: Sequence[tuple[Ranking, Agreement]] = (),
) -> None:
    """Write ``index.html``: a ranking as a page to look at, which fetches nothing from anywhere.

    Which model to take and how sure that is; the ranking as a picture; `pictures`; score against
    performance; the sweep, where one ran; what was skipped or failed; how to repeat the run.

    Parameters
    ----------
    ranking : Ranking
    folder : str or Path
        As in `write_report`.
    pictures : sequence of Picture
        As `take_pictures` gives them.
    performance : Ranking or None
        Against labels, where there are any.
    compared : sequence of (Ranking, Agreement)
        Rankings to hold against the performance, `ranking` among them.

    Raises
    ------
    OutputError
        If the folder cannot be written.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> labelled = oc.Images.from_arrays(discs, truth=[disc > 0.5 for disc in discs])
    >>> ranking, truth = oc.rank_each([steep], labelled, [oc.CTE(), oc.Accuracy()])
    >>> found = oc.agreement(ranking, truth)
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     oc.write_page(ranking, folder, performance=truth, compared=[(ranking, found)])
    ...     print(Path(folder, "index.html").read_text(encoding="utf-8").splitlines()[0])
    <!DOCTYPE html>
    """
    path = prepare_folder(folder)
    page = page_of(ranking, performance=performance, compared=compared, pictures=pictures)
    with beside_ranking(path):
        replace_file(path / "index.html", page)


def write_pictures(pictures: Sequence[Picture], folder: str | Path) -> None:
    """Write ``pictures.json``, with which ``onnx-cte report`` makes the page again.

    Parameters
    ----------
    pictures : sequence of Picture
        Of none, a file of an earlier run is removed.
    folder : str or Path
        As in `write_report`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    """
    path = prepare_folder(folder)
    if pictures:
        with beside_ranking(path):
            replace_file(path / PICTURES, json_text(pictures_to_json(pictures)))
    else:
        remove_files(path, PICTURES)


def read_pictures(folder: str | Path) -> tuple[Picture, ...]:
    """Read the ``pictures.json`` of a folder.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    tuple of Picture
        None if there is no such file.

    Raises
    ------
    OutputError
        If the file cannot be read, or holds no pictures.
    """
    file = Path(folder) / PICTURES
    if not file.exists():
        return ()
    try:
        return pictures_from_json(read_document(file, "pictures"))
    except OutputError as error:
        raise OutputError(f"{error}; without '{file}', the page has no pictures") from error


def remove_report(folder: str | Path) -> None:
    """Remove what `write_report` and `write_pictures` wrote; OutputError if it is not allowed."""
    remove_files(Path(folder), "ranking.json", "ranking.csv", "images.csv", "index.html", PICTURES)


def read_ranking(path: str | Path) -> Ranking:
    """Read a ``ranking.json``.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it.

    Returns
    -------
    Ranking

    Raises
    ------
    OutputError
        If the file is not there or is no ranking.

    Examples
    --------
    >>> import numpy as np
    >>> import onnx_cte as oc
    >>> rows, columns = np.mgrid[:64, :64]
    >>> discs = [np.exp(-((rows - 32) ** 2 + (columns - n) ** 2) / 200) for n in (24, 32, 40)]
    >>> steep = oc.BlackBox("steep", lambda tensor: (9 * tensor - 4).clip(0, 1))
    >>> images = oc.Images.from_arrays(discs)
    >>> ranking = oc.rank([steep], images, oc.CTE())
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     oc.write_report(ranking, folder)
    ...     again = oc.read_ranking(folder)
    >>> again[0].model, again.values == ranking.values
    ('steep', True)
    """
    file = Path(path)
    if file.is_dir():
        file /= "ranking.json"
    return ranking_from_json(read_document(file, "ranking"))
