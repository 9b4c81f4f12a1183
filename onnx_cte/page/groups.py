"""Groups of models that cannot be told apart, out of pairs."""

from collections.abc import Collection, Iterator, Sequence


def groups_of(
    models: Sequence[str], pairs: Collection[tuple[str, str]], most: int
) -> tuple[tuple[str, ...], ...] | None:
    """The largest groups of which each two models are such a pair.

    To be undecided is not transitive: a like b and b like c leave a and c apart. So a model may be
    in several groups (statisticians know them as a compact letter display); every pair is in one,
    and a group holds no other pair.

    Parameters
    ----------
    models : sequence of str
        In the order in which groups, and the models within, are given.
    pairs : collection of (model, model)
        In either order; those of other models do not count.
    most : int
        How many groups are of use.

    Returns
    -------
    tuple of tuples of str, or None
        Each of two models or more; none where there are no pairs. None if there are more than
        `most`: there may be very many.

    Examples
    --------
    >>> groups_of("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")], 9)
    (('a', 'b', 'c'), ('c', 'd'))
    """
    like: dict[str, set[str]] = {model: set() for model in models}
    for one, other in pairs:
        if one in like and other in like:
            like[one].add(other)
            like[other].add(one)
    found: list[set[str]] = []
    for group in _cliques(like, set(), {m for m in models if like[m]}, set()):
        if len(found) == most:
            return None
        found.append(group)
    place = {model: n for n, model in enumerate(models)}
    ordered = [tuple(sorted(group, key=place.__getitem__)) for group in found]
    return tuple(sorted(ordered, key=lambda group: [place[model] for model in group]))


def _cliques(
    like: dict[str, set[str]], group: set[str], able: set[str], done: set[str]
) -> Iterator[set[str]]:
    """Bron and Kerbosch's search for maximal cliques, with a pivot."""
    if not able and not done:
        if group:
            yield group
        return
    pivot = max(sorted(able | done), key=lambda model: len(like[model] & able))
    for model in sorted(able - like[pivot]):
        yield from _cliques(like, group | {model}, able & like[model], done & like[model])
        able = able - {model}
        done = done | {model}
