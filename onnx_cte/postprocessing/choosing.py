"""Which decoder serves the channels of a network."""

from collections.abc import Sequence

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing.labelling import object_roles
from onnx_cte.postprocessing.registry import DECODERS
from onnx_cte.types import BACKGROUND, BOUNDARY, FOREGROUND, Decoder


def decoder_for(
    roles: Sequence[str], names: Sequence[str] = (), dimensions: int = 2
) -> tuple[Decoder, str]:
    """The decoder that channels of these roles and names suggest, with its default options.

    Channels named as a decoder of its own kind wants them (distances along rays, flows) get that
    one; a sole channel that is called a boundary gets ``boundary``, any other ``foreground``;
    foreground and boundary get ``foreground_boundary``; background, boundary and one other class
    get ``three_class``; two or more classes beside a background get ``classes``.

    Parameters
    ----------
    roles : sequence of str
        What the channels mean, as `Prediction.roles`.
    names : sequence of str
        What they are called, in the same order; may be empty.
    dimensions : {2, 3}
        Of the images.

    Returns
    -------
    decoder : Decoder
        It serves these channels.
    note : str
        What was chosen, and by what.

    Raises
    ------
    OptionError
        If no decoder serves them.

    Examples
    --------
    >>> decoder_for(("foreground", "boundary"))[0].name
    'foreground_boundary'
    >>> decoder_for(("foreground",), ("boundary",))[1]
    "objects by decoder 'boundary', chosen by the channel 'boundary'"
    """
    roles, names = tuple(roles), tuple(map(str, names))
    for decoder in DECODERS.values():
        recognises = getattr(decoder, "recognises", None)
        if recognises is not None and names and recognises(names):
            made: Decoder = decoder()
            if not made.refuses(roles, dimensions):
                return made, _note(made.name, names)
    chosen = _by_roles(roles, names)
    made = DECODERS[chosen]()
    if refusal(made, roles, dimensions):
        served = fitting(roles, dimensions)
        if not served:
            raise OptionError(
                f"no decoder serves the channels {_listed(roles)} on images of {dimensions} "
                "dimensions; name the channels in a description, or state the channel of the "
                "foreground"
            )
        made = DECODERS[served[0]]()
    note = _note(made.name, names if len(names) == len(roles) else roles)
    others = object_roles(roles)
    if made.name == "foreground" and BACKGROUND not in roles and len(others) > 1:
        ignored = _listed(tuple(role for role in others if role != FOREGROUND))
        note += f"; of {ignored} it is not known what they hold: state a decoder that uses them"
    return made, note


def _by_roles(roles: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Name of the decoder that roles suggest."""
    if len(roles) == 1:
        said = names if len(names) == 1 else roles
        return "boundary" if said[0] == BOUNDARY else "foreground"
    objects = object_roles(roles)
    if BACKGROUND not in roles:
        return "foreground_boundary" if BOUNDARY in roles else "foreground"
    if len(objects) > 1:
        return "classes"
    if BOUNDARY in roles:
        return "three_class" if objects else "boundary"
    return "foreground"


def fitting(roles: Sequence[str], dimensions: int = 2) -> tuple[str, ...]:
    """Names of the decoders that could serve these channels, in the order of the registry."""
    return tuple(
        name for name, made in DECODERS.items() if not made().refuses(tuple(roles), dimensions)
    )


def refusal(decoder: Decoder, roles: Sequence[str], dimensions: int = 2) -> str:
    """Why a decoder cannot serve these channels, and which could; empty if it can.

    Examples
    --------
    >>> from onnx_cte.postprocessing import Foreground, ThreeClass
    >>> refusal(Foreground(), ("foreground",))
    ''
    >>> print(refusal(ThreeClass(), ("foreground", "boundary")))
    decoder 'three_class' needs three classes: 'background', 'boundary' and the inside of objects; \
these channels ('foreground', 'boundary') can be served by: foreground, watershed, \
foreground_boundary, boundary
    """
    why = decoder.refuses(tuple(roles), dimensions)
    if not why:
        return ""
    served = ", ".join(fitting(roles, dimensions)) or "no decoder"
    where = "" if dimensions == 2 else f" on images of {dimensions} dimensions"
    return (
        f"decoder '{decoder.name}' {why}; these channels ({_listed(tuple(roles))}){where} can be "
        f"served by: {served}"
    )


def _note(name: str, channels: Sequence[str]) -> str:
    kind = "channel" if len(channels) == 1 else "channels"
    return f"objects by decoder '{name}', chosen by the {kind} {_listed(channels)}"


def _listed(channels: Sequence[str]) -> str:
    """Quoted and parted by commas; only the ends of a long list."""
    quoted = [f"'{channel}'" for channel in channels]
    if len(quoted) > 8:
        quoted = [*quoted[:4], "...", quoted[-1]]
    return ", ".join(quoted)
