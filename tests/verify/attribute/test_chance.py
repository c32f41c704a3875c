"""Of how few values something is that clean runs agree on."""

import pytest

from mlrepro_nb.verify.attribute.differences._nondeterminism import _FEW, _room


@pytest.mark.parametrize(
    ("before", "after", "few"),
    [
        ("accuracy 0.9", "accuracy 0.9667", True),
        ("accuracy 0.9", "accuracy 0.9666666666666667", True),
        ("[0.9333333333333333, 1.0]", "[0.9666666666666667, 1.0]", True),
        ("big: True", "big: False", True),
        ("{'b', 'a'}", "{'a', 'b'}", True),
        ("side tails", "side heads", True),
        ("mean 0.4371829405912", "mean 0.5130498812003", False),
        ("251.3314285714281", "248.15997864281016", False),
        ("[3, 1, 4, 1, 5, 9]", "[2, 7, 1, 8, 2, 8, 18]", False),
        ("rows 12345", "rows 987654", False),
    ],
)
def test_what_has_few_values_is_told_from_what_has_many(before: str, after: str, few: bool) -> None:
    assert (_room(before, after) <= _FEW) is few
