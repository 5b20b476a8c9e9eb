"""The records of the families: complete, and true to the kernels."""

import pytest

from attnbench.errors import UsageError
from attnbench.families import FAMILIES, family_of
from attnbench.families.family import Family
from attnbench.kernels.registry import backends
from attnbench.running.cases import asked_by_default, cases_for
from tests.conftest import small_case

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
EVERY_DEVICE = pytest.mark.parametrize("device_kind", ["cuda", "cpu"])


@EVERY_DEVICE
@EVERY_FAMILY
def test_by_default_every_backend_of_a_family_is_measured(family: Family, device_kind: str) -> None:
    cases = cases_for(asked_by_default(family), device_kind)
    assert {case.backend for case in cases} == {each.name for each in backends(family.name)}
    assert {case.shape for case in cases} == {family.options().shape()}


@EVERY_FAMILY
def test_knobs_with_batches_of_their_own_are_knobs_of_some_backend(family: Family) -> None:
    assert family.knob_batches.keys() <= {k for each in backends(family.name) for k in each.knobs}


def test_a_case_of_an_unknown_family_is_refused_with_the_families_there_are() -> None:
    with pytest.raises(UsageError) as caught:
        family_of(small_case("convolution"))
    assert str(caught.value) == (
        "no family is called 'convolution'; known are attn, mla, cache-write, prefill-trtllm"
    )
