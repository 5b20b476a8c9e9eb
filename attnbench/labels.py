"""Labels: caveats of a time. A labelled time is still a measured time."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Literal, Self

Subject = Literal["sampling", "launching", "device", "result"]


class Label(StrEnum):
    """The labels with subject and meaning. A database may have labels that are no longer here."""

    subject: Subject
    meaning: str

    def __new__(cls, name: str, subject: Subject, meaning: str) -> Self:
        """The member is the text `name`."""
        label = str.__new__(cls, name)
        label._value_, label.subject, label.meaning = name, subject, meaning
        return label

    WIDE_INTERVAL = "wide_interval", "sampling", "sampling ended before the median was certain"
    OUTLIERS = "outliers", "sampling", "over 5 % of the samples are far from all others"
    BIMODAL = (
        "bimodal",
        "sampling",
        "the samples fall into two groups, and the median may stand for neither",
    )
    SUSTAINED = (
        "sustained",
        "sampling",
        "a second of its own calls came first, for the power to settle",
    )
    LAUNCH_BOUND = "launch_bound", "launching", "launching may show in the time"
    EAGER_FALLBACK = (
        "eager_fallback",
        "launching",
        "could not be captured in a graph, so single launches were timed",
    )
    POWER_LIMITED = "power_limited", "device", "the GPU was slowed to stay within its power limit"
    THERMAL = "thermal", "device", "the GPU was slowed by heat, or by its board"
    CLOCK_MOVED = (
        "clock_moved",
        "device",
        "the SM clock moved by over 5 % while samples were taken",
    )
    MEMORY_CLOCK = (
        "memory_clock",
        "device",
        "the memory clock was over 5 % below its highest while samples were taken",
    )
    SHARED_GPU = "shared_gpu", "device", "another process was on the GPU"
    SAME_INPUTS = (
        "same_inputs",
        "result",
        "its inputs cannot be changed in place, so results kept from earlier calls would pass",
    )
    ABOVE_ROOFLINE = (
        "above_roofline",
        "result",
        "less than the least time that this hardware allows, so it is wrong",
    )


def regime_of(method: Mapping[str, object], labels: Collection[str]) -> str:
    """burst, or sustained if load came before the samples with these labels."""
    asked = method.get("regime") == "sustained"  # older rows do not have the label
    return "sustained" if asked or Label.SUSTAINED in labels else "burst"


def explained(label: str) -> str:
    """The label with its meaning; alone if it is from another version of attnbench."""
    return next((f"{each}: {each.meaning}" for each in Label if each == label), label)
