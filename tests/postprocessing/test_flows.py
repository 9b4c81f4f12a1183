"""The decoder of flows and its parts: by hand, then properties."""

import numpy as np
import pytest
import scipy

from onnx_cte.errors import OptionError
from onnx_cte.postprocessing.flow_fields import flows_of_masks, follow, grouped
from onnx_cte.postprocessing.flows import Flows
from onnx_cte.types import Prediction

ROLES = {2: ("foreground", "dy", "dx"), 3: ("foreground", "dz", "dy", "dx")}


def predicted(labels, scale=5.0, flow=None, roles=None):
    """What a perfect network says of labels."""
    flow = flows_of_masks(labels) if flow is None else flow
    maps = np.concatenate([(labels > 0)[np.newaxis], scale * flow]).astype(np.float32)
    maps.flags.writeable = False
    return Prediction(maps, roles or ROLES[labels.ndim])


def discs(shape, *circles):
    """Labels 1, 2, ... of circles or balls (*centre, radius)."""
    labels = np.zeros(shape, np.int32)
    places = np.indices(shape)
    for number, (*centre, radius) in enumerate(circles, start=1):
        away = sum((axis - middle) ** 2 for axis, middle in zip(places, centre, strict=True))
        labels[away <= radius**2] = number
    return labels


# Decoding, by hand


def test_flows_to_two_sinks_are_two_objects():
    inside = np.zeros((12, 30), np.int32)
    inside[2:10, 2:28] = 1
    rows, columns = np.mgrid[:12, :30].astype(float)
    middle = np.where(columns < 15, 8.0, 21.0)
    flow = np.stack([6 - rows, middle - columns])
    flow = flow / (1e-9 + np.hypot(*flow))
    labels = Flows(flow_threshold=0).decode(predicted(inside, flow=flow))
    assert labels.dtype == np.int32
    assert (labels[2:10, 2:15] == 1).all()
    assert (labels[2:10, 15:28] == 2).all()
    assert (labels > 0).sum() == inside.sum()


def test_touching_objects_come_back_as_they_were():
    truth = discs((50, 60), (15, 15, 9), (15, 32, 9), (32, 20, 9), (34, 44, 8))
    labels = Flows().decode(predicted(truth))
    assert np.array_equal(labels, truth)


def test_balls_in_a_volume_come_back_as_they_were():
    truth = discs((24, 26, 40), (11, 12, 12, 7), (11, 12, 27, 7))
    labels = Flows().decode(predicted(truth))
    assert np.array_equal(labels, truth)


def test_objects_are_numbered_in_c_order():
    truth = discs((40, 60), (28, 12, 6), (10, 40, 8))
    labels = Flows().decode(predicted(truth))
    assert labels[10, 40] == 1
    assert labels[28, 12] == 2


@pytest.mark.parametrize("shape", [(20, 30), (8, 9, 10), (1, 1), (1, 1, 1)])
def test_nothing_found_is_an_image_of_zeros(shape):
    labels = Flows().decode(predicted(np.zeros(shape, np.int32)))
    assert labels.dtype == np.int32
    assert labels.shape == shape
    assert not labels.any()


def test_one_pixel():
    one = predicted(np.ones((1, 1), np.int32))
    assert Flows(min_size=0, max_share=1).decode(one).tolist() == [[0]]  # no ten pixels end there


def test_all_foreground():
    still = predicted(np.ones((20, 20), np.int32), flow=np.zeros((2, 20, 20)))
    assert Flows().decode(still).max() == 0  # each pixel ends alone
    rows, columns = np.mgrid[:20, :20]
    flow = np.stack([10 - rows, 10 - columns]) / (1e-9 + np.hypot(10 - rows, 10 - columns))
    one = predicted(np.ones((20, 20), np.int32), flow=flow)
    assert Flows(max_share=1).decode(one).tolist() == np.ones((20, 20), int).tolist()
    assert Flows().decode(one).max() == 0  # larger than 0.4 of the image


def test_an_object_at_the_border_of_the_image():
    truth = discs((30, 30), (0, 12, 7), (20, 29, 6))
    assert np.array_equal(Flows().decode(predicted(truth)), truth)


def test_objects_whose_flows_are_not_theirs_are_dropped():
    truth = discs((40, 60), (20, 15, 9), (20, 42, 9))
    flow = flows_of_masks(truth)
    rows, columns = np.mgrid[:40, :60].astype(float)
    aside = np.stack([20 - rows, 50 - columns])  # the right one flows to its right end
    flow = np.where(truth == 2, aside / (1e-9 + np.hypot(*aside)), flow)
    wrong = predicted(truth, flow=flow)
    error = ((flow - flows_of_masks(truth)) ** 2).sum(axis=0)[truth == 2].mean()
    assert error > 0.4
    assert np.array_equal(Flows().decode(wrong), np.where(truth == 1, 1, 0))
    assert np.array_equal(Flows(flow_threshold=0).decode(wrong), truth)
    assert Flows(flow_threshold=1.01 * error).decode(wrong).max() == 2
    assert Flows(flow_threshold=0.99 * error).decode(wrong).max() == 1


def test_flows_that_are_not_scaled():
    truth = discs((40, 60), (20, 15, 9), (20, 42, 9))
    assert np.array_equal(Flows(flow_scale=1).decode(predicted(truth, scale=1)), truth)
    assert Flows(niter=20).decode(predicted(truth, scale=0.1)).max() == 0


def test_too_few_steps_leave_pixels_where_they_are():
    truth = discs((40, 40), (20, 20, 12))
    assert Flows(niter=1, flow_threshold=0).decode(predicted(truth)).max() == 0
    assert Flows(niter=30).decode(predicted(truth)).max() == 1


def test_small_objects_and_holes():
    truth = discs((50, 50), (14, 14, 7), (34, 34, 9))
    size = int((truth == 1).sum())
    assert Flows(min_size=size).decode(predicted(truth)).max() == 2
    assert np.array_equal(Flows(min_size=size + 1).decode(predicted(truth)) > 0, truth == 2)
    whole = predicted(truth)
    maps = whole.maps.copy()
    maps[0, 33, 34] = 0  # a hole beside the middle
    labels = Flows().decode(Prediction(maps, whole.roles))
    assert np.array_equal(labels, truth)


def test_foreground_is_strictly_above_the_threshold():
    truth = discs((40, 40), (20, 20, 8))
    whole = predicted(truth)
    maps = whole.maps * np.array([0.75, 1, 1], np.float32)[:, np.newaxis, np.newaxis]
    assert Flows().decode(Prediction(maps, whole.roles, 0.75)).max() == 0
    assert Flows().decode(Prediction(maps, whole.roles, 0.7)).max() == 1


def test_the_probability_may_be_any_channel():
    truth = discs((40, 60), (20, 15, 9), (20, 42, 7))
    first = predicted(truth)
    last = Prediction(first.maps[[1, 2, 0]], ("dy", "dx", "foreground"))
    assert np.array_equal(Flows().decode(last), truth)


def test_transposed_predictions_have_transposed_objects():
    truth = discs((40, 60), (20, 15, 9), (24, 32, 9), (10, 50, 7))
    whole = predicted(truth)
    turned = Prediction(whole.maps[[0, 2, 1]].transpose(0, 2, 1), whole.roles)
    one, other = Flows().decode(whole), Flows().decode(turned).T
    assert np.array_equal(one > 0, other > 0)
    assert len(np.unique(np.stack([one, other]).reshape(2, -1), axis=1).T) == 4


# Options and channels


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("niter", 0),
        ("niter", 1.5),
        ("flow_threshold", -0.1),
        ("min_size", -1),
        ("max_share", 0),
        ("max_share", 1.5),
        ("flow_scale", 0),
        ("flow_scale", float("inf")),
    ],
)
def test_options_are_checked(option, value):
    with pytest.raises(OptionError, match=f"decoder 'flows': {option} is {value}, expected"):
        Flows(**{option: value})


@pytest.mark.parametrize(
    ("channels", "dimensions", "reason"),
    [
        (ROLES[2], 2, ""),
        (ROLES[3], 3, ""),
        (ROLES[3], 2, "needs 2 flows beside 'foreground', one a dimension; there are 3"),
        (ROLES[2], 3, "needs 3 flows beside 'foreground', one a dimension; there are 2"),
        (("dy", "dx", "boundary"), 2, "needs a channel 'foreground'"),
        (("background", "foreground", "dy"), 2, "one is 'background'"),
        (ROLES[2], 1, "not images of 1"),
    ],
)
def test_what_it_refuses(channels, dimensions, reason):
    said = Flows().refuses(channels, dimensions)
    assert reason in said
    assert bool(said) == bool(reason)
    if said:
        maps = np.zeros((len(channels), *[8] * dimensions), np.float32)
        with pytest.raises(OptionError, match="decoder 'flows' "):
            Flows().decode(Prediction(maps, channels))


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (("dy", "dx", "cellprob"), True),
        (("foreground", "flow_y", "flow_x"), True),
        (("foreground", "flow_0", "flow_1"), True),
        (("flow_z", "flow_y", "flow_x", "prob"), True),
        (("dP_y", "dP_x", "cell probability"), True),
        (("dx", "dy", "cellprob"), False),
        (("flow_1", "flow_0", "cellprob"), False),
        (("foreground", "boundary", "distance"), False),
        (("dy", "dx"), False),
        (("dy", "dx", "cellprob", "foreground"), False),
        (("foreground",), False),
        ((), False),
    ],
)
def test_which_names_it_recognises(names, known):
    assert Flows.recognises(names) is known


# Following


def test_steps_are_interpolated_between_pixels():
    flow = np.zeros((2, 3, 4), np.float32)
    flow[1, 1] = [0.5, 0.25, 0, 0]
    flow[0, 1, 1] = 1
    # (1, 0) -> (1, 0.5): halfway, 0.5 down and 0.375 right -> (1.5, 0.875)
    assert follow(flow, np.array([[1, 0]]), 1).tolist() == [[1, 0.5]]
    assert follow(flow, np.array([[1, 0]]), 2).tolist() == [[1.5, 0.875]]


def test_steps_in_a_volume_are_interpolated_too():
    flow = np.zeros((3, 2, 2, 2), np.float32)
    flow[0, 0] = 0.5
    flow[2, 1] = 1
    assert follow(flow, np.array([[0, 1, 0]]), 1).tolist() == [[0.5, 1, 0]]
    assert follow(flow, np.array([[0, 1, 0]]), 2).tolist() == [[0.75, 1, 0.5]]


def test_points_stay_within_the_image():
    flow = np.full((2, 4, 5), 3, np.float32)
    assert follow(flow, np.array([[0, 0], [3, 4]]), 7).tolist() == [[3, 4], [3, 4]]
    assert follow(-flow, np.array([[2, 2]]), 1).tolist() == [[0, 0]]


@pytest.mark.parametrize("steps", range(1, 14))
def test_points_that_go_to_and_fro_end_where_the_last_step_takes_them(steps):
    flow = np.zeros((2, 1, 6), np.float32)
    flow[1, 0] = [1, 1, 1, -1, -1, -1]
    column = 0
    for _ in range(steps):
        column += flow[1, 0, column]
        column = int(column)
    assert follow(flow, np.array([[0, 0]]), steps).tolist() == [[0, column]]


def test_many_points_at_once_end_where_each_alone_does():
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 1, (2, 200, 200)).astype(np.float32)
    starts = np.argwhere(np.ones((200, 200), bool))
    together = follow(flow, starts, 30)
    some = rng.choice(len(starts), 50, replace=False)
    alone = np.concatenate([follow(flow, starts[[index]], 30) for index in some])
    assert np.array_equal(together[some], alone)
    plain = step_by_step(flow, starts[some], 5)
    np.testing.assert_allclose(follow(flow, starts[some], 5), plain, atol=0.01)


def step_by_step(flow, starts, steps):
    """Final positions, the plain way."""
    points = starts.astype(float)
    height, width = flow.shape[1:]
    for _ in range(steps):
        low = np.floor(points).astype(int)
        y, x = (points - low).T
        top, left = low.T
        bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        step = (1 - y) * ((1 - x) * flow[:, top, left] + x * flow[:, top, right])
        step = step + y * ((1 - x) * flow[:, bottom, left] + x * flow[:, bottom, right])
        points = np.clip(points + step.T, 0, [height - 1, width - 1])
    return points


# Grouping


def ends(*places):
    """Points, so many at each (row, column, count)."""
    points = [(row + 0.4, column + 0.7) for row, column, count in places for _ in range(count)]
    return np.array(points, np.float32).reshape(-1, 2)


def test_more_than_ten_points_make_a_sink():
    assert not grouped(ends((5, 5, 10)), (9, 9)).any()
    assert (grouped(ends((5, 5, 11)), (9, 9)) == 1).all()
    assert grouped(ends(), (9, 9)).tolist() == []


def test_a_sink_gathers_what_hangs_together_with_it_within_five_pixels():
    path = [(2, column, 3) for column in range(9, 20)]
    found = grouped(ends((2, 8, 20), *path), (5, 30))
    assert (found[:20] == 1).all()
    assert (found[20:].reshape(-1, 3) == [[1]] * 5 + [[0]] * 6).all()
    apart = grouped(ends((2, 8, 20), (2, 10, 3), (3, 7, 2)), (5, 30))
    assert (apart[:20] == 1).all()
    assert (apart[20:] == 0).all()


def test_of_two_near_sinks_the_one_where_more_end_wins():
    two = grouped(ends((2, 5, 12), (2, 8, 15), (2, 6, 3), (2, 7, 3)), (5, 30))
    assert set(two.tolist()) == {2}  # each reaches the other
    near = grouped(ends((2, 5, 12), (2, 7, 15)), (5, 30))
    assert near.tolist() == [0] * 12 + [1] * 15  # within 2 px there is one sink


# The flows of masks


def test_flows_of_a_row_point_to_its_middle():
    flows = flows_of_masks(np.array([[0, 1, 1, 1, 0]], np.int32))
    assert flows[0].tolist() == [[0] * 5]
    np.testing.assert_allclose(flows[1], [[0, 1, 0, -1, 0]], atol=1e-12)
    upright = flows_of_masks(np.array([[0, 1, 1, 1, 0]], np.int32).T)
    np.testing.assert_allclose(upright[0].T, [[0, 1, 0, -1, 0]], atol=1e-12)


def test_masks_that_touch_do_not_heat_each_other():
    both = discs((30, 40), (14, 12, 8), (14, 27, 6))
    both[14, 20] = 2
    alone = [flows_of_masks((both == number).astype(np.int32)) for number in (1, 2)]
    np.testing.assert_array_equal(flows_of_masks(both), alone[0] + alone[1])


def test_flows_within_masks_are_unit_vectors():
    flat = discs((40, 40), (19, 18, 9))
    ball = discs((18, 18, 18), (8, 9, 8, 6))
    for labels in (flat, ball):
        length = np.sqrt((flows_of_masks(labels) ** 2).sum(axis=0))
        assert (length[labels == 0] == 0).all()
        assert (np.abs(length[labels == 1] - 1) < 1e-9).mean() > 0.98  # not in the very middle


def test_no_masks_have_no_flows():
    assert not flows_of_masks(np.zeros((5, 6), np.int32)).any()


def heated(labels):
    """The flows of masks, the plain way: one mask after the other, in the whole image."""
    flows = np.zeros((labels.ndim, *labels.shape))
    plane = labels.ndim == 2
    beside = np.ones((3, 3)) if plane else scipy.ndimage.generate_binary_structure(3, 1)
    for number in range(1, labels.max() + 1):
        mask = labels == number
        places = np.argwhere(mask)
        middle = places[np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))]
        extent = (np.ptp(places, axis=0) + 1).sum()
        heat = np.zeros(labels.shape)
        for _ in range(2 * (extent + 4) if plane else 6 * (extent + 3)):
            heat[tuple(middle)] += 1
            heat = scipy.ndimage.convolve(heat, beside / beside.sum(), mode="constant") * mask
        outside = np.pad(heat, 1)
        for axis in range(labels.ndim):
            rise = np.roll(outside, -1, axis) - np.roll(outside, 1, axis)
            flows[axis][mask] = rise[(slice(1, -1),) * labels.ndim][mask]
    return flows / (1e-60 + np.sqrt((flows**2).sum(axis=0)))


@pytest.mark.parametrize("shape", [(40, 47), (12, 13, 14)])
@pytest.mark.parametrize("seed", range(4))
def test_flows_of_ragged_masks_are_those_found_the_plain_way(shape, seed):
    rng = np.random.default_rng(seed)
    places = np.argwhere(np.ones(shape))
    seeds = rng.uniform(0, shape, (7, len(shape)))
    nearest = ((places[:, np.newaxis] - seeds) ** 2).sum(axis=-1).argmin(axis=1).reshape(shape)
    # Masks that touch, with holes, pieces apart and single pixels; they reach the border.
    labels = np.where(rng.uniform(size=shape) < 0.55, nearest + 1, 0).astype(np.int32)
    found, plain = flows_of_masks(labels), heated(labels)
    apart = np.abs(found - plain).max(axis=0) > 1e-6
    assert (apart & (labels > 0)).sum() <= 2  # where the heat is level but for rounding
    assert (found != 0).any(axis=0).mean() > 0.2


def test_pieces_that_heat_does_not_come_to_have_no_flow():
    labels = np.zeros((12, 40), np.int32)
    labels[1:11, 2:12] = labels[5, 14] = labels[2:4, 36:39] = 1
    flows = flows_of_masks(labels)
    assert not flows[:, :, 13:].any()
    assert flows[:, 1:11, 2:12].any(axis=0).mean() > 0.9
    np.testing.assert_allclose(flows, heated(labels), atol=1e-9)


def test_the_very_middle_of_a_symmetric_mask_is_level():
    labels = discs((25, 25), (12, 12, 9))
    flows = flows_of_masks(labels)
    assert flows[:, 12, 12].tolist() == [0, 0]
    assert not flows[0, 12].any()
    assert np.array_equal(flows[0], -flows[0, ::-1])
    assert np.array_equal(flows[1], -flows[1, :, ::-1])


def test_flows_are_not_found_for_masks_that_are_dropped_anyway(monkeypatch):
    truth = discs((60, 60), (14, 14, 5), (14, 44, 9), (40, 30, 16))
    sizes = np.bincount(truth.ravel())
    seen = []

    def watched(labels):
        seen.extend(np.bincount(labels.ravel())[1:].tolist())
        return flows_of_masks(labels)

    monkeypatch.setattr("onnx_cte.postprocessing.flows.flows_of_masks", watched)
    options = {"min_size": int(sizes[1]) + 1, "max_share": (sizes[3] - 1) / truth.size}
    assert Flows(**options).decode(predicted(truth)).max() == 1
    assert seen == [sizes[2]]


def test_masks_in_several_portions(monkeypatch):
    labels = discs((60, 60), (12, 12, 8), (12, 40, 5), (40, 15, 11), (42, 45, 9))
    whole = flows_of_masks(labels)
    monkeypatch.setattr("onnx_cte.postprocessing.flow_fields._DIFFUSED", 1)
    monkeypatch.setattr("onnx_cte.postprocessing.flow_fields._STRETCH", 37)
    np.testing.assert_array_equal(flows_of_masks(labels), whole)
