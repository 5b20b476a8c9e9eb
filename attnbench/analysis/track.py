"""One case over versions of the code, and what many of them that share a machine show together."""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from attnbench.analysis.estimate import MIN_CELLS
from attnbench.analysis.segments import Logs
from attnbench.analysis.shift import CAUTIOUS_COMMON, CAUTIOUS_SESSION, CAUTIOUS_WILD, at_least
from attnbench.stats.moderation import TAME, Wild
from attnbench.stats.samples import robust_sd
from attnbench.stats.variance import Variance

_FAR = 3.5  # robust standard deviations (Iglewicz and Hoaglin 1993)


@dataclass(frozen=True, slots=True)
class Track:
    """One case over versions, oldest first; spreads are of natural logarithms."""

    times: Sequence[float]  # seconds of each version, the geometric mean over its sessions
    sessions: Sequence[int]  # number of sessions of each time
    sd: float  # of one session, by the known noise; above 0
    newest: Hashable = None  # the session of the newest version, if it has one, which others share
    wild: Wild = TAME  # cases that sessions move unlike the others
    unseen: bool = False  # whether no repeated sessions of the machine are stored


@dataclass(frozen=True, slots=True)
class Noisiness:
    """How sessions move a case, with what the other cases of the same sessions show of it."""

    variance: float  # of one session
    newest_scatter: float  # how much larger that of the newest session is
    together: Logs  # what moved all cases alike, ln(time) [num_versions]
    common: Variance | None  # by which a session may do so; None where `variance` has it
    wild: Wild


def noisiness(tracks: Sequence[Track]) -> list[Noisiness]:
    """Of each track."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for at, each in enumerate(tracks):
        groups[at if each.newest is None else (each.newest, len(each.times))].append(at)
    found: dict[int, Noisiness] = {}
    for places in groups.values():
        own = [tracks[at] for at in places]
        judged = _of_many(own) if len(own) >= MIN_CELLS else map(_alone, own)
        found |= zip(places, judged, strict=True)
    return [found[at] for at in range(len(tracks))]


def _alone(track: Track) -> Noisiness:
    """Few cases of a machine that nobody has seen do not show how far its sessions move them."""
    unknown = CAUTIOUS_SESSION.value + CAUTIOUS_COMMON.value if track.unseen else 0.0
    return Noisiness(track.sd**2 + unknown, 1.0, np.zeros(len(track.times)), None, _wild(track))


def _of_many(tracks: Sequence[Track]) -> list[Noisiness]:
    """Cases that scatter by more than the known noise, as beside other programs, are noisier."""
    x = np.log([each.times for each in tracks])
    off = x - np.median(x, axis=1, keepdims=True)
    together = np.median(off, axis=0)
    steps = np.diff(off - together, axis=1) / [_sd_of_steps(each) for each in tracks]
    usual = max(1.0, _usual_variance(steps[:, :-1].ravel()))
    newest = max(1.0, _usual_variance(_newest(x, tracks)) / usual)
    common = _common(together)
    return [
        Noisiness(
            usual * each.sd**2, newest, together, common if each.unseen else None, _wild(each)
        )
        for each in tracks
    ]


def _common(together: Logs) -> Variance:
    """By a cautious guess, and what sessions before the newest did to all cases but once.

    Once may be a step.
    """
    before = np.sort(np.abs(np.diff(together[:-1])))[:-1]
    if not len(before):
        return CAUTIOUS_COMMON
    seen = Variance(float(np.mean(before**2)) / 2, len(before))
    return seen.pooled(CAUTIOUS_COMMON, CAUTIOUS_COMMON.df)


def _sd_of_steps(track: Track) -> Logs:
    """The standard deviation of the difference of neighbouring versions, by the known noise."""
    inverse = 1 / np.asarray(track.sessions, dtype=np.float64)
    return np.asarray(track.sd * np.sqrt(inverse[1:] + inverse[:-1]))


def _newest(x: Logs, tracks: Sequence[Track]) -> Logs:
    """How far the newest session is off the ones before, in known standard deviations."""
    before = x.shape[1] - 1
    if not before:
        return np.empty(0)
    sds = np.asarray([each.sd for each in tracks]) * math.sqrt(1 + 1 / before)
    return np.asarray((x[:, -1] - np.median(x[:, :-1], axis=1)) / sds)


def _usual_variance(scores: Logs) -> float:
    """Of the cases that have not changed: those far from the median are set aside, and again."""
    if not len(scores):
        return 0.0
    for _ in range(3):
        off = scores - np.median(scores)
        scores = scores[np.abs(off) <= _FAR * robust_sd(off)]
    return robust_sd(scores - np.median(scores)) ** 2


def _wild(track: Track) -> Wild:
    """As `diff` takes it: a few cases of a machine that nobody has seen may have modes."""
    return at_least(track.wild, CAUTIOUS_WILD) if track.unseen else track.wild
