"""Every family of networks through analysis and surgery: what is found, and what it computes."""

import functools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx.inliner
import pytest
from families import Family
from families.building import built, cases
from graph_models import distance, drawn, observed, rows_of, run, session
from numpy.typing import NDArray
from onnx import ModelProto

from onnx_cte.graph.anatomy import Anatomy, anatomy
from onnx_cte.graph.maps import Probe, Tap
from onnx_cte.graph.sharing import expand_skips, share_skips
from onnx_cte.graph.surgery import add_mask_input, crossings, split

FAMILIES = [*cases(), *cases(heavy=True)]
WAYS = {"share": share_skips, "expand": expand_skips}
EFFECT = 1e-3
# Its maps are rounded to steps of the range over the whole batch: rows change each other.
MIXES_ROWS = {"unet-quantised-dynamic"}


class Subject(NamedTuple):
    """A family's network, and what was found in it."""

    family: Family
    folder: Path
    model: ModelProto
    probe: Probe
    anatomy: Anatomy
    output: str
    image: NDArray

    def run(self, model: ModelProto, *, optimised: bool = True, **feeds: NDArray) -> NDArray:
        """The judged output."""
        given = {self.probe.source: self.image, **feeds}
        return run(model, given, self.folder, optimised=optimised)[self.output]

    def check(self, model: ModelProto) -> None:
        """Let onnx check a model; its weights lie in the family's folder."""
        if not any(tensor.external_data for tensor in model.graph.initializer):
            onnx.checker.check_model(model)
            return
        with tempfile.NamedTemporaryFile(suffix=".onnx", dir=self.folder) as file:
            file.write(model.SerializeToString())
            file.flush()
            onnx.checker.check_model(file.name)


@functools.cache
def subject(family: Family) -> Subject:
    path = built(family)
    model = onnx.load(path, load_external_data=False)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    port = model.graph.input[0]
    kind = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
    image = drawn(family.probe, kind=kind)
    probe = observed(model, image, family.axes, path.parent, port.name)
    output = family.output or model.graph.output[0].name
    found = anatomy(model, probe, output)
    return Subject(family, path.parent, model, probe, found, output, image)


@pytest.fixture
def cut(request) -> Subject:
    return subject(request.param)


def can_be_cut(case) -> bool:
    return case.values[0].stride is not None


CUT = [case for case in FAMILIES if can_be_cut(case)]
EACH = pytest.mark.parametrize("cut", CUT, indirect=True)


def drop(tap: Tap, seed: int) -> NDArray:
    """One mask of 0 and 1."""
    return rows_of(tap.channels, tap.rank, 2, seed)[1:]


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_found(family):
    found = subject(family).anatomy
    if family.stride is None:
        assert found.bottleneck is None
        assert family.refused in found.reason
        return
    assert found.reason == ""
    deep = found.bottleneck
    assert set(deep.stride[-2:]) == {family.stride}
    assert max(deep.stride) == family.stride
    if family.channels is not None:
        assert deep.channels == family.channels
    if family.skips is not None:
        assert tuple(skip.kind for skip in found.skips) == family.skips
    assert deep in found.taps
    assert 0 < found.decoder_macs < found.macs
    assert found.encoder_macs > 0


@EACH
def test_ones_change_nothing(cut):
    masked = add_mask_input(cut.model, cut.anatomy.bottleneck)
    cut.check(masked)
    whole = cut.run(cut.model, optimised=False)
    np.testing.assert_array_equal(cut.run(masked, optimised=False), whole)
    assert distance(cut.run(masked), cut.run(cut.model)) <= cut.family.tolerance


@EACH
def test_a_mask_bites_and_another_is_told_apart(cut):
    deep = cut.anatomy.bottleneck
    masked = add_mask_input(cut.model, deep, default=False)
    cut.check(masked)
    live = session(masked, cut.folder)

    def of(mask):
        return run(live, {cut.probe.source: cut.image, "mask": mask})[cut.output]

    whole = of(np.ones((1, deep.channels, *[1] * (deep.rank - 2)), np.float32))
    one, other = of(drop(deep, 1)), of(drop(deep, 2))
    if not cut.family.effect:
        np.testing.assert_array_equal(one, whole)
        return
    assert distance(one, whole) > EFFECT
    assert distance(other, one) > max(EFFECT, cut.family.tolerance)


@EACH
def test_encoder_then_decoder_is_the_whole(cut):
    tensor = cut.anatomy.bottleneck.tensor
    encoder, decoder = split(cut.model, tensor, crossings(cut.model, tensor), cut.probe.values)
    for part in (encoder, decoder):
        cut.check(part)
    between = run(encoder, {cut.probe.source: cut.image}, cut.folder)
    wanted = {value.name: between[value.name] for value in decoder.graph.input
              if value.name in between}  # fmt: skip
    found = run(decoder, wanted, cut.folder)[cut.output]
    assert distance(found, cut.run(cut.model)) <= cut.family.tolerance


def chosen(found: Anatomy, which: str) -> list[Tap]:
    if which == "bottleneck":
        return [found.bottleneck]
    # Skips first: an encoder tap takes over all the readers that are left.
    return list(found.skips) if which == "skips" else [*found.skips, *found.taps]


@EACH
@pytest.mark.parametrize("which", ["bottleneck", "skips", "all"])
def test_one_run_serves_many_masks(cut, which):
    taps = chosen(cut.anatomy, which)
    if not taps:
        pytest.skip("it has no skip connections")
    masked, rows = cut.model, {}
    for number, tap in enumerate(taps):
        masked = add_mask_input(masked, tap, f"mask{number}", default=False)
        rows[f"mask{number}"] = rows_of(tap.channels, tap.rank, 3, seed=number)
    cut.check(masked)
    live = session(masked, cut.folder)
    given = {cut.probe.source: cut.image}
    expected = np.concatenate(
        [
            run(live, {**given, **{name: mask[[row]] for name, mask in rows.items()}})[cut.output]
            for row in range(3)
        ]
    )
    if cut.family.effect or which != "bottleneck":
        assert distance(expected[1:2], expected[:1]) > EFFECT
    for rewrite in WAYS.values():
        made = rewrite(masked, cut.output, list(rows), cut.probe.values, cut.folder)
        cut.check(made)
        away = distance(cut.run(made, **rows), expected)
        # Nothing in the graph tells the one kind from the other: it has to be proven by running.
        assert (away > cut.family.tolerance) == (cut.family.name in MIXES_ROWS)
