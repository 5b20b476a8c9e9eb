"""Which kernels belong to which call, and what a call's kernels come to."""

import threading
from contextlib import suppress

import pytest

from attnbench.errors import AttnbenchError
from attnbench.timing import activity as module
from attnbench.timing.activity import Activity, Profile, by_marker, recorded, traced, trimmed


def activity(name: str, start: int = 0, end: int = 1) -> Activity:
    return Activity(name, launch=start, start=start, end=end)


@pytest.mark.parametrize(
    ("order", "groups"),
    [
        ("", []),
        ("M", [""]),
        ("MsabMsab", ["sab", "sab"]),
        ("MsaMsabb", ["sa", "sabb"]),
        ("xyMsa", ["sa"]),  # launched before the first marker: nobody's
        ("MssMss", ["ss", "ss"]),  # a call that is itself a spin
    ],
)
def test_kernels_belong_to_the_marker_before_them(order: str, groups: list[str]) -> None:
    found = by_marker([activity(name) for name in order], "M")
    assert ["".join(each.name for each in group) for group in found] == groups


@pytest.mark.parametrize(
    ("activities", "span", "total"),
    [
        ([activity("a", 1000, 3000)], 2000, 2000),
        ([activity("a", 1000, 3000), activity("b", 4000, 5000)], 4000, 3000),  # a gap
        ([activity("a", 1000, 3000), activity("b", 2000, 5000)], 4000, 5000),  # an overlap
        ([activity("a", 1000, 9000), activity("b", 2000, 5000)], 8000, 11000),
    ],
)
def test_a_span_counts_gaps_and_a_total_counts_kernels(
    activities: list[Activity], span: int, total: int
) -> None:
    profile = Profile.of(activities)
    assert profile.span == pytest.approx(span * 1e-9)
    assert profile.total == pytest.approx(total * 1e-9)


def test_kernels_that_ran_twice_are_named_once() -> None:
    activities = [activity(name) for name in ("void b(int)", "a", "void b(int)")]
    assert Profile.of(activities).names == ("a", "b")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("nvjet_tst_128x256", "nvjet_tst_128x256"),
        ("void f<4, (int)2>(float*, int)", "f<4, (int)2>"),
        (
            "at::cuda::(anonymous namespace)::spin_kernel(long)",
            "at::cuda::(anonymous namespace)::spin_kernel",
        ),
        ("void g<h(int)>(h(int))", "g<h(int)>"),
        ("s::operator()(int)", "s::operator()"),
        ("Memcpy DtoD (Device -> Device)", "Memcpy DtoD"),
        ("(odd)", "(odd)"),
        ("broken)", "broken)"),
    ],
)
def test_names_keep_their_template_arguments_and_lose_their_parameters(
    name: str, short: str
) -> None:
    assert trimmed(name) == short


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has recorded nothing."""
    monkeypatch.setattr(module, "_recorded", threading.Event())
    monkeypatch.delenv("CUDA_INJECTION64_PATH", raising=False)


@pytest.mark.usefixtures("untouched")
def test_a_process_is_traced_after_a_recording_even_one_that_saw_nothing() -> None:
    assert not traced()
    with suppress(AttnbenchError, UserWarning):  # nothing to record, or nobody who could
        recorded(lambda: None)
    assert traced()


@pytest.mark.usefixtures("untouched")
def test_a_process_is_traced_by_a_tool_that_cuda_injects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_INJECTION64_PATH", "libToolsInjection64.so")
    assert traced()
