import inspect

import pytest

import onnx_cte as oc

NAMES = pytest.mark.parametrize("name", oc.__all__)


def test_all_is_what_is_exported_and_sorted():
    public = {
        name
        for name, value in vars(oc).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(oc.__all__)
    assert oc.__all__ == sorted(oc.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))


@NAMES
def test_every_name_says_what_it_is(name):
    thing = getattr(oc, name)
    assert thing.__doc__
    assert thing.__doc__.strip().splitlines()[0].endswith((".", "]_.", "?", ":"))


@pytest.mark.parametrize("name", [n for n in oc.__all__ if inspect.isfunction(getattr(oc, n))])
def test_functions_document_their_arguments(name):
    thing = getattr(oc, name)
    doc = inspect.getdoc(thing) or ""
    signature = inspect.signature(thing)
    for argument in signature.parameters:
        assert argument in doc, f"{name}: {argument}"
    assert "Returns" in doc or "Yields" in doc or signature.return_annotation is None
