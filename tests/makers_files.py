"""CZI, LIF and ND2 files as tests need them: CZI by pylibCZIrw, the others put together here."""

import re
import struct
from pathlib import Path

import numpy as np


def write_czi(path, tiles, **metadata):
    """Tiles are (pixels, {"C": 0, "Z": 0, ...}, (x, y), scene); colours are given as RGB."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path), exist_ok=True) as file:
        for pixels, plane, location, scene in tiles:
            # Stored blue first, as the pixel type Bgr24 says.
            pixels = pixels[..., ::-1] if pixels.ndim == 3 else pixels[..., None]
            file.write(np.ascontiguousarray(pixels), plane=plane, location=location, scene=scene)
        file.write_metadata(**{"document_name": "test", **metadata})
    return path


def czi_of(path, array, letters, **metadata):
    """A CZI of an array with the dimensions (t, c, z,) y, x."""
    outer = array.shape[: len(letters) - 2]
    tiles = [
        (array[place], dict(zip(letters.upper(), place, strict=False)), (0, 0), 0)
        for place in np.ndindex(outer)
    ]
    return write_czi(path, tiles, **metadata)


_LIF_DIMENSIONS = {"x": 1, "y": 2, "z": 3, "t": 4, "m": 10}


def write_lif(path, series):
    """A LIF of series: name to (array, letters); of uint8 or uint16, channels may be among them.

    Channels lie apart by a byte offset, everything else by the increments that XML states.
    """
    elements, blocks = [], []
    for number, (name, (array, letters)) in enumerate(series.items()):
        array = np.ascontiguousarray(array)
        steps = dict(zip(letters, array.strides, strict=True))
        count = array.shape[letters.index("c")] if "c" in letters else 1
        channels = "".join(
            f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * array.itemsize}" '
            f'NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="Gray" IsLUTInverted="0" '
            f'BytesInc="{channel * steps.get("c", 0)}" BitInc="0"/>'
            for channel in range(count)
        )
        dimensions = "".join(
            f'<DimensionDescription DimID="{_LIF_DIMENSIONS[letter]}" NumberOfElements="{length}" '
            f'Origin="0" Length="1e-6" Unit="m" BytesInc="{steps[letter]}" BitInc="0"/>'
            for letter, length in zip(letters, array.shape, strict=True)
            if letter != "c"
        )
        elements.append(
            f'<Element Name="{name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
            f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
            f'<Memory Size="{array.nbytes}" MemoryBlockID="MemBlock_{number}"/></Element>'
        )
        blocks.append((f"MemBlock_{number}", array.astype(array.dtype.newbyteorder("<")).tobytes()))
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="test"><Data/><Memory Size="0" '
        f'MemoryBlockID="MemBlock_none"/><Children>{"".join(elements)}</Children></Element>'
        "</LMSDataContainerHeader>"
    ).encode("utf-16-le")
    parts = [struct.pack("<IIBI", 0x70, len(xml) + 5, 0x2A, len(xml) // 2), xml]
    for name, data in blocks:
        text = name.encode("utf-16-le")
        head = struct.pack("<BQBI", 0x2A, len(data), 0x2A, len(name))
        parts += [struct.pack("<II", 0x70, len(head) + len(text)), head, text, data]
    Path(path).write_bytes(b"".join(parts))
    return path


_ND2_MAGIC, _ND2_PAGE = 0x0ABECEDA, 4096
_ND2_KINDS = {bool: (1, "<?"), int: (3, "<I"), float: (6, "<d")}


def _nd2_value(name, value):
    """A named value as ND2 has it ("lite variant"); a mapping is a level with values in it."""
    text = (name + "\0").encode("utf-16-le")
    head = len(name) + 1
    if isinstance(value, dict):
        inner = b"".join(_nd2_value(*item) for item in value.items())
        length = 2 + len(text) + 12 + len(inner)
        offsets = b"\0" * 8 * len(value)
        level = struct.pack("<BB", 11, head) + text + struct.pack("<IQ", len(value), length)
        return level + inner + offsets
    if isinstance(value, str):
        return struct.pack("<BB", 8, head) + text + (value + "\0").encode("utf-16-le")
    kind, packed = _ND2_KINDS[type(value)]
    return struct.pack("<BB", kind, head) + text + struct.pack(packed, value)


def write_nd2(path, array, letters, channels):
    """An ND2 of uint16 with the dimensions (p, t, z, each at will,) c, y, x."""
    *outer, count, rows, columns = array.shape
    loops = {}
    for letter, length in reversed(list(zip(letters, outer, strict=False))):
        parameters = {
            "p": {"Points": {f"i{n:010}": {"dPosX": float(n)} for n in range(length)}},
            "t": {"uiCount": length, "dPeriod": 1.0, "dStart": 0.0, "dDuration": 1.0},
            "z": {"uiCount": length, "dZStep": 1.0},
        }[letter]
        loop = {"eType": {"t": 1, "p": 2, "z": 4}[letter], "uLoopPars": parameters}
        loops = {**loop, **({"ppNextLevelEx": {"i0000000000": loops}} if loops else {})}
    frames = np.moveaxis(array, -3, -1).reshape(-1, rows, columns, count)
    attributes = {
        "uiWidth": columns, "uiWidthBytes": columns * count * 2, "uiHeight": rows,
        "uiComp": count, "uiBpcInMemory": 16, "uiBpcSignificant": 16,
        "uiSequenceCount": len(frames), "eCompression": 2,
    }  # fmt: skip
    planes = {
        f"a{n}": {
            "uiCompCount": 1,
            "sDescription": name,
            "uiColor": 0,
            "pFluorescentProbe": {"m_sName": "probe"},
        }
        for n, name in enumerate(channels)
    }
    picture = {
        "dCalibration": 1.0, "bCalibrated": True,
        "sPicturePlanes": {"uiCount": count, "uiCompCount": count, "sPlaneNew": planes},
    }  # fmt: skip
    chunks = {
        "ImageAttributesLV!": _nd2_value("SLxImageAttributes", attributes),
        "ImageMetadataSeqLV|0!": _nd2_value("SLxPictureMetadata", picture),
        "CustomData|AcqTimesCache!": np.arange(len(frames), dtype="<f8").tobytes(),
    }
    if loops:
        chunks["ImageMetadataLV!"] = _nd2_value("SLxExperiment", loops)
    for number, frame in enumerate(frames):
        chunks[f"ImageDataSeq|{number}!"] = b"\0" * 8 + frame.astype("<u2").tobytes()
    out = bytearray(struct.pack("<IIQ", _ND2_MAGIC, 32, 64))
    out += b"ND2 FILE SIGNATURE CHUNK NAME01!" + b"Ver3.0".ljust(64, b"\0")
    places = b""
    for name, data in chunks.items():
        out += b"\0" * (-len(out) % _ND2_PAGE)
        places += name.encode() + struct.pack("<QQ", len(out), len(data))
        out += struct.pack("<IIQ", _ND2_MAGIC, _ND2_PAGE - 24, len(data))
        out += name.encode().ljust(_ND2_PAGE - 24, b"\0") + data
    at, signature = len(out), b"ND2 CHUNK MAP SIGNATURE 0000001!"
    places += signature + struct.pack("<Q", at)
    out += struct.pack("<IIQ", _ND2_MAGIC, 32, len(places)) + b"ND2 FILEMAP SIGNATURE NAME 0001!"
    Path(path).write_bytes(bytes(out + places))
    return path


def name_scenes(path, names):
    """Name the scenes of a CZI in its metadata, as ZEN does; the file keeps its size."""
    data = Path(path).read_bytes()
    start, stop = data.index(b"<ImageDocument>"), data.index(b"</ImageDocument>")
    scenes = "".join(f'<Scene Index="{n}" Name="{name}"/>' for n, name in enumerate(names))
    xml = re.sub(rb"<Document>.*</Application>", b"", data[start:stop], flags=re.DOTALL)
    head, tail = xml.split(b"<Dimensions>")
    added = f"<Dimensions><S><Scenes>{scenes}</Scenes></S>".encode()
    room = stop - start - len(head) - len(tail) - len(added)
    Path(path).write_bytes(data[:start] + head + added + b" " * room + tail + data[stop:])
