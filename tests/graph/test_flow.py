import pytest
from graph_models import FLOAT, network, node
from onnx import helper

from onnx_cte.errors import GraphError
from onnx_cte.graph.flow import Flow, Gates, implicit, read_by, require_value

ANY = [1, 1, "H", "W"]


def relus(*pairs):
    """A graph of Relu and Add nodes: ("a", "image"), ("c", "a", "b")."""
    nodes = [
        node("Relu" if len(reads) == 1 else "Sum", list(reads), [made]) for made, *reads in pairs
    ]
    return network(nodes, {"image": ANY}, {pairs[-1][0]: ANY})


DIAMOND = relus(
    ("a", "image"), ("left", "a"), ("right", "a"), ("far", "right"), ("b", "left", "far"),
    ("map", "b"),
)  # fmt: skip


def names(flow, indices):
    return [flow.nodes[index].output[0] for index in indices]


def test_makers_and_users():
    flow = Flow(DIAMOND)
    assert flow.producer == {"a": 0, "left": 1, "right": 2, "far": 3, "b": 4, "map": 5}
    assert flow.users == {
        "image": [0], "a": [1, 2], "left": [4], "right": [3], "far": [4], "b": [5]
    }  # fmt: skip
    assert flow.reads(4) == ("left", "far")


def test_a_value_read_twice_by_one_node_has_one_user():
    flow = Flow(relus(("map", "image", "image")))
    assert flow.users == {"image": [0]}
    assert flow.reads(0) == ("image",)


def test_optional_inputs_and_outputs_left_out_are_no_values():
    nodes = [
        node("Resize", ["image", "", "scales"], ["up"]),
        node("MaxPool", ["up"], ["map", ""], kernel_shape=[1, 1]),
    ]
    flow = Flow(network(nodes, {"image": ANY, "scales": [4]}, {"map": ANY}))
    assert "" not in flow.users
    assert "" not in flow.producer
    assert flow.outputs_of([0, 1]) == {"up", "map"}


def test_downstream_and_upstream():
    flow = Flow(DIAMOND)
    assert flow.downstream(["right"]) == {3, 4, 5}
    assert flow.downstream(["left", "right"]) == {3, 4, 5}
    assert flow.downstream(["map"]) == set()
    assert flow.upstream(["far"]) == {0, 2, 3}
    assert flow.upstream(["image"]) == set()


def test_who_asks_for_the_shape_does_not_read_the_contents():
    nodes = [
        node("Relu", ["image"], ["a"]),
        node("Shape", ["a"], ["size"]),
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("Relu", ["zeros"], ["map"]),
    ]
    flow = Flow(network(nodes, {"image": ANY}, {"map": ANY}))
    assert flow.downstream(["a"]) == {1, 2, 3}
    assert flow.downstream(["a"], contents=True) == set()
    assert flow.upstream(["map"]) == {0, 1, 2, 3}
    assert flow.upstream(["map"], contents=True) == {2, 3}
    assert Gates(flow, "image", "map").between == []


def test_gates_of_a_diamond():
    flow = Flow(DIAMOND)
    gates = Gates(flow, "image", "map")
    assert names(flow, gates.between) == ["a", "left", "right", "far", "b", "map"]
    assert names(flow, gates.gates(4)) == ["b", "a"]
    assert names(flow, gates.gates(3)) == ["far", "right", "a"]
    assert names(flow, gates.gathers(0)) == ["a", "b", "map"]
    assert names(flow, gates.gathers(2)) == ["right", "far", "b", "map"]
    assert gates.depth == {0: 1, 1: 2, 2: 2, 3: 3, 4: 4, 5: 5}


def test_the_image_itself_goes_around_a_node():
    """b reads the image and a, so that a does not gate it."""
    flow = Flow(relus(("a", "image"), ("b", "a", "image"), ("map", "b")))
    gates = Gates(flow, "image", "map")
    assert names(flow, gates.gates(1)) == ["b"]
    assert names(flow, gates.gathers(0)) == ["a", "b", "map"]


def test_a_node_that_makes_the_target_with_another_output_after_it():
    """What lies behind the target is not between."""
    flow = Flow(relus(("a", "image"), ("b", "a"), ("after", "b")))
    assert Gates(flow, "image", "b").between == [0, 1]


def test_three_paths_of_which_two_meet_first():
    flow = Flow(
        relus(("a", "image"), ("x", "a"), ("y", "a"), ("z", "a"), ("m", "x", "y"), ("n", "m", "z"))
    )
    gates = Gates(flow, "image", "n")
    assert names(flow, gates.gates(4)) == ["m", "a"]
    assert names(flow, gates.gates(5)) == ["n", "a"]
    assert names(flow, gates.gathers(1)) == ["x", "m", "n"]


def by_cutting(flow, source, target, start):
    """Gates by their definition: nodes without which `start` cannot be reached."""
    between = sorted(flow.downstream([source]) & flow.upstream([target]))
    found = []
    for gone in between:
        known = {source}
        for index in between:
            if index != gone and not known.isdisjoint(flow.reads(index)):
                known.update(flow.nodes[index].output)
        if flow.nodes[start].output[0] not in known:
            found.append(gone)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_gates_are_what_their_definition_says(seed):
    import numpy as np

    rng = np.random.default_rng(seed)
    made = ["image"]
    pairs = []
    for number in range(14):
        reads = rng.choice(len(made), size=min(len(made), int(rng.integers(1, 3))), replace=False)
        pairs.append((f"v{number}", *(made[max(0, len(made) - 1 - i)] for i in reads)))
        made.append(f"v{number}")
    flow = Flow(relus(*pairs))
    gates = Gates(flow, "image", made[-1])
    for index in gates.between:
        assert sorted(gates.gates(index)) == by_cutting(flow, "image", made[-1], index)


def branch(name, *nodes):
    result = helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, None)
    return helper.make_graph(list(nodes), name, [], [result])


def test_branches_read_values_around_them():
    inner = branch("inner", node("Add", ["deep", "kept"], ["both"]))
    then = branch(
        "then",
        node("Relu", ["a"], ["kept"]),
        node("If", ["inside"], ["result"], then_branch=inner, else_branch=inner),
    )
    other = branch("other", node("Neg", ["b"], ["negated"]))
    choice = node("If", ["flag"], ["map"], then_branch=then, else_branch=other)
    # "kept" is made within, in the graph around the inner one.
    assert implicit(then) == ["a", "inside", "deep", "deep"]
    assert set(read_by(choice)) == {"flag", "a", "inside", "deep", "b"}
    nodes = [node("Relu", ["image"], ["deep"]), choice]
    flow = Flow(network(nodes, {"image": ANY, "flag": [1]}, {"map": ANY}))
    assert flow.users["deep"] == [1]
    assert flow.downstream(["image"]) == {0, 1}


def test_what_a_subgraph_takes_as_input_or_holds_is_its_own():
    value = helper.make_tensor_value_info("x", FLOAT, None)
    weight = helper.make_tensor("w", FLOAT, [1], [1.0])
    result = helper.make_tensor_value_info("y", FLOAT, None)
    body = helper.make_graph([node("Mul", ["x", "w"], ["y"])], "body", [value], [result], [weight])
    assert implicit(body) == []


def test_an_output_handed_on_from_around():
    result = helper.make_tensor_value_info("a", FLOAT, None)
    assert implicit(helper.make_graph([], "then", [], [result])) == ["a"]


def test_a_value_that_is_not_there():
    flow = Flow(DIAMOND)
    require_value(flow, DIAMOND, "right")
    with pytest.raises(GraphError, match=r"makes 'rihgt'; did you mean 'right'\? `onnx-cte insp"):
        require_value(flow, DIAMOND, "rihgt")
    with pytest.raises(GraphError, match=r"graph 'tiny' has no node that makes '9'; `onnx-cte in"):
        require_value(flow, DIAMOND, "9")
