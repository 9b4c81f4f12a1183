"""Microscopy files in, one named `Image` at a time; folders are walked lazily."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from onnx_cte.errors import ImageError, NothingToRank, OptionError
from onnx_cte.images.arrays import ArrayRef, list_arrays
from onnx_cte.images.files import Source, find
from onnx_cte.images.loading import ImageRef, Loader
from onnx_cte.images.pairing import pair_labels
from onnx_cte.images.readers import READERS, open_file
from onnx_cte.images.stored import Stored, lay_out, stated
from onnx_cte.images.understood import Understood
from onnx_cte.images.windows import Box, box_name, boxes

__all__ = ["READERS", "ImageRef", "Images"]


class Images:
    """Images to rank on, found at once, read one at a time.

    Iterating gives an `ImageRef` for every plane: for each file (PNG, JPEG, TIFF with its OME and
    ImageJ dialects; CZI, ND2 and LIF; the suffixes are those of `READERS`) and each folder that is
    an OME-Zarr image, each slice of a stack, and each window of a large plane. ``ref.load()`` reads
    it. The images are always "yx" or "cyx"; depth, time and pages are walked slice by slice. With
    ``volumes=True`` depth is kept whole: there is an `ImageRef` for every z-stack, and images are
    "zyx" or "czyx". Iterating again gives the same references.

    Parameters
    ----------
    source : str, path, or iterable of those
        A folder (walked with all below it, in sorted order; hidden files, and files with other
        suffixes, are passed over), a glob such as "plate7/*.tif" (``**`` allowed), a file, a text
        file (``.txt``) that names one of these a line, relative to its own folder, or several of
        those. The folder of an OME-Zarr image is one image, wherever it is found; each field of a
        plate is one.
    truth : str, path, or iterable of those, optional
        Label images, for evaluating: whole numbers, 0 for background. They pair with images by
        path without suffix, with endings as ``_mask`` or ``-labels`` (see
        `onnx_cte.images.labels.pair`), or as a table says (``.csv``, ``.tsv``) that has columns
        ``image`` and ``label``, paths relative to its own folder. Stacks pair slice by slice, or
        whole. A file that is found here is no image, even if it is found in `source`.
    axes : str, optional
        What the dimensions of the stored arrays are, a letter each of y, x, c (channels), z, t, in
        any case: "zyxc". None: what the file says, and an error where that leaves a doubt. For
        labels, c is left out; where the number of dimensions does not agree, their file decides.
    channel : int or str, optional
        Take this channel alone, counted from 0, or by its name, where metadata name channels.
        None: all of them.
    only : str or iterable of str, optional
        Only these files: their names as the ranking has them (the path below `source`), with or
        without suffix.
    limit : int, optional
        Only the first `limit` references; files after those are not looked at.
    volumes : bool
        Take each z-stack as one volume; time and pages are walked still. Which dimension is depth
        is what the file says, or `axes`: pages of unknown meaning are no depth. Files without
        depth cannot be used.

    Attributes
    ----------
    skipped : tuple of (name, reason)
        Files that could not even be opened.

    Raises
    ------
    NothingToRank
        If there are no images.
    LabelsError
        If there are no labels, or none belongs to any image.
    OptionError
        If `axes`, `channel` or `limit` cannot be, `only` names what is not there, or `volumes`
        are wanted but `axes` have no z.

    Notes
    -----
    Listing reads headers only. Loading holds one file: of an uncompressed TIFF only what is asked
    for is read; of OME-Zarr and CZI the chunks below it, of which 2**28 bytes are kept, of ND2 and
    LIF the plane; of other files the plane (PNG, JPEG: the image) is decoded as a whole, in its own
    dtype, and kept until the next is, so that its windows are cut from one decoding. A plane of
    more than 2**23 pixels is walked in windows of 2048 x 2048 with 128 pixels of context; volumes
    are always one piece, of which nothing is kept once it is loaded.
    Alpha channels are left out, PNG palettes turned to RGB.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np, tifffile
    >>> stack = np.arange(2400, dtype=np.uint16).reshape(2, 30, 40)
    >>> with TemporaryDirectory() as folder:
    ...     tifffile.imwrite(f"{folder}/stack.tif", stack, metadata={"axes": "ZYX"})
    ...     for ref in Images(folder):
    ...         image = ref.load()
    ...         print(image.name, image.axes, image.data.shape)
    ...     volume = next(iter(Images(folder, volumes=True))).load()
    ...     print(volume.name, volume.axes, volume.data.shape)
    stack.tif[z=0] yx (30, 40)
    stack.tif[z=1] yx (30, 40)
    stack.tif zyx (2, 30, 40)
    """

    def __init__(
        self,
        source: Source,
        truth: Source | None = None,
        *,
        axes: str | None = None,
        channel: int | str | None = None,
        only: str | Iterable[str] | None = None,
        limit: int | None = None,
        volumes: bool = False,
    ) -> None:
        source, truth = _repeatable(source), None if truth is None else _repeatable(truth)
        if isinstance(channel, int) and channel < 0:
            raise OptionError(f"channel={channel}: expected a number from 0 on, or a name")
        if limit is not None and limit < 1:
            raise OptionError(f"limit={limit}: expected a number from 1 on")
        only = None if only is None else (only,) if isinstance(only, str) else tuple(only)
        letters = None if axes is None else stated(axes)
        if volumes and letters is not None and "z" not in letters:
            raise OptionError(
                f"axes={axes!r} have no depth (z), but volumes are wanted: say which dimension is "
                "depth, as in axes='zyx', or take planes, without volumes=True (--volumes)"
            )
        given = {"truth": truth, "axes": axes, "channel": channel, "only": only, "limit": limit}
        given |= {"volumes": volumes or None}
        self._said = [repr(_plain(source))]
        self._said += [
            f"{key}={_plain(value)!r}" for key, value in given.items() if value is not None
        ]
        found = find(source, "image", NothingToRank)
        self._files = found.files if only is None else _chosen(found.files, list(only))
        self._unread = list(found.missing)
        self._pairing = None if truth is None else pair_labels(self._files, truth, self._said[0])
        if self._pairing is not None:
            self._files = dict(self._pairing.images)
        pairs = None if self._pairing is None else self._pairing.truth
        self._loader = Loader(letters, channel, pairs, volumes)
        self._understood = Understood(letters)
        self._refs: tuple[ImageRef | ArrayRef, ...] = tuple(islice(self._listed(), limit))
        self._labelled, self._kind = truth is not None, "files"

    @classmethod
    def from_arrays(
        cls,
        arrays: Iterable[Any],
        *,
        names: Iterable[str] | None = None,
        truth: Iterable[Any] | None = None,
        axes: str | None = None,
        channel: int | None = None,
        volumes: bool = False,
    ) -> "Images":
        """Images that are arrays in memory already.

        Parameters
        ----------
        arrays : iterable of ndarray
            One a picture, stack or volume, of any real dtype. Other arrays that NumPy can read
            slice by slice (memory maps, Zarr, dask) stay where they are until their turn comes.
        names : iterable of str, optional
            One each, unique: results, seeds and kept evidence refer to them. None: image_0, ...
        truth : iterable of ndarray, optional
            Label images, one each in the same order: whole numbers, 0 for background; dimensions
            as of the image, without channels.
        axes : str, optional
            What the dimensions of every array are, as of `Images`: "yxc", "zyx". None: all are
            (rows, columns).
        channel, volumes
            As of `Images`.

        Returns
        -------
        Images
            Slices of stacks and windows of large planes are walked as those of files are. Pixels
            are hashed whenever they are loaded, so that evidence on them can be kept (`evidence` of
            `rank`), and is measured anew when they have changed.

        Raises
        ------
        NothingToRank
            If there is no array.
        OptionError
            If `axes` or `channel` do not fit an array, or `names` the number of arrays.
        LabelsError
            If labels do not fit their array.

        Examples
        --------
        >>> import numpy as np
        >>> planes = np.random.default_rng(0).random((3, 64, 64))
        >>> [ref.name for ref in Images.from_arrays(planes)]
        ['image_0', 'image_1', 'image_2']
        >>> [ref.name for ref in Images.from_arrays([planes], names=["stack"], axes="zyx")]
        ['stack[z=0]', 'stack[z=1]', 'stack[z=2]']
        """
        if channel is not None and channel < 0:
            raise OptionError(f"channel={channel}: expected a number from 0 on")
        images = cls.__new__(cls)
        refs = tuple(list_arrays(arrays, names, truth, axes, channel, volumes))
        if not refs:
            raise NothingToRank("there is no array: the list of arrays is empty")
        given = {"axes": axes, "channel": channel, "volumes": volumes or None}
        images._said = [f"{key}={value!r}" for key, value in given.items() if value is not None]
        images._unread, images._refs, images._pairing = [], refs, None
        images._understood = Understood("yx" if axes is None else stated(axes))
        for ref in {ref.group: ref for ref in refs}.values():
            images._understood.add(ref.group, *ref.image)
        images._labelled, images._kind = truth is not None, "arrays"
        return images

    def __iter__(self) -> Iterator[ImageRef | ArrayRef]:
        return iter(self._refs)

    def __len__(self) -> int:
        """How many references there are."""
        return len(self._refs)

    def __repr__(self) -> str:
        files = len({ref.group for ref in self._refs})
        skipped = f", {len(self._unread)} skipped" if self._unread else ""
        maker = "Images" if self._kind == "files" else "Images.from_arrays"
        said = ", ".join(self._said)
        return f"<{maker}({said}): {len(self)} from {files} {self._kind}{skipped}>"

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of each file that could not even be opened."""
        return tuple(self._unread)

    @property
    def understood(self) -> tuple[str, ...]:
        """What was understood, in words: a line for each kind of file, and one for the labels.

        Which dimension is what and who says so, channels by name where the file has names, what
        cannot be used, and which label image belongs to which image. Files beyond `limit` were
        not looked at.
        """
        labels = () if self._pairing is None else (str(self._pairing),)
        return (*self._understood.lines(), *labels)

    @property
    def has_truth(self) -> bool:
        """Whether images come with labels."""
        return self._labelled

    def _listed(self) -> Iterator[ImageRef]:
        """Every reference, file by file; files that cannot be opened are noted."""
        for name, path in self._files.items():
            try:
                arrays = open_file(path, colours=True)
            except ImageError as error:
                self._unread.append((name, str(error)))
                continue
            for part, stored in enumerate(arrays):
                said = [f"series={part}"] if len(arrays) > 1 else []
                for index, window, where in self._places(name, stored):
                    full = f"{name}[{','.join(said + where)}]" if said + where else name
                    yield ImageRef(full, path, name, part, index, window, self._loader)

    def _places(
        self, name: str, stored: Stored
    ) -> Iterator[tuple[tuple[int, ...], Box | None, list[str]]]:
        """Slice, window, and how both are named, for each plane or volume of an array."""
        volumes = self._loader.volumes
        try:
            layout = lay_out(stored, self._loader.axes, self._loader.channel, volumes)
        except ImageError as error:  # Loading says so again, and then it is a skipped image.
            self._understood.refuse(name, str(error))
            yield (), None, []
            return
        self._understood.add(name, stored, layout)
        for index in layout.indices():
            where = layout.label(index)
            for box in (() if volumes else boxes(*layout.size)) or (None,):
                yield index, box, where + ([] if box is None else [box_name(box)])


def _repeatable(source: Source) -> Source:
    """The source, repeatable: it may be given as a generator."""
    return source if isinstance(source, str | os.PathLike) else list(source)


def _plain(value: object) -> object:
    """Paths as text, as the user typed them."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _chosen(files: dict[str, Path], only: Sequence[str]) -> dict[str, Path]:
    """Keep the files named, with or without suffix; every name has to be there."""
    named = {key for name in files for key in (name, str(PurePosixPath(name).with_suffix("")))}
    if not only:
        raise NothingToRank("the list of images to use is empty; name some, or leave it out")
    missing = [name for name in only if name not in named]
    if missing:
        raise OptionError(
            f"{len(missing)} of {len(only)} images named are not there, such as '{missing[0]}'; "
            f"there are {len(files)}, such as '{next(iter(files), '')}'"
        )
    wanted = set(only)
    return {
        name: path
        for name, path in files.items()
        if name in wanted or str(PurePosixPath(name).with_suffix("")) in wanted
    }
