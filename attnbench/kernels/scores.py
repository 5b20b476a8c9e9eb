"""The scores of needles, which decide how far low precision puts a row off."""

import math
from statistics import NormalDist

from attnbench.kernels.aiming import Aimed
from attnbench.kernels.deviation import WIDE
from attnbench.kernels.groups import Keys
from attnbench.kernels.needles import REST
from attnbench.kernels.tolerance import LARGE_SCORE, too_small


class Scored(Aimed):
    """A prepared case that knows the scores that matter in its rows."""

    def largest_score(self) -> float:
        """Of the scores that matter in a row, some needles' and some others'."""
        if self.needle_seed is None:
            # Short queries vary. Where scores have the variance v, the weight is at those of v.
            largest = LARGE_SCORE * max(1.0, math.sqrt(WIDE / self.key_dim))
            return max(largest, self.scale**2 * self.key_dim)
        *kinds, _ = self._scores()
        return max(score + 2 * math.sqrt(spread) for score, spread in kinds)

    def weights_too_small(self) -> float:
        """How far e4m3 puts a row off where a kernel's largest weight is 1, relative to its size.

        Only rows of light needles matter: beside heavy ones other keys hardly count. A sink's
        weight may be the largest, and beside it all of a short request's round to 0.
        """
        if getattr(self, "sinks", None) is not None:
            return 1.0
        (light, spread), _, seen = self._scores()
        random = NormalDist().inv_cdf(seen / (seen + 1)) * math.sqrt(spread)
        return too_small(max(random, light + 2 * REST * math.sqrt(spread)), spread)

    def _scores(self) -> tuple[tuple[float, float], tuple[float, float], int]:
        """Of the last token, for light and for heavy needles: their score, others' variance.

        And the number of keys that it sees. Without needles their score is 0.
        """
        import torch

        group = max(self.groups, key=lambda group: group.kv_len)
        first = torch.zeros(1, dtype=torch.int64, device=self.device)
        places = first, first + group.first, first + group.kv_len - 1
        at = Keys(group, self.lengths, *places)
        seen = self.visible(at)
        if self.needle_seed is None:
            return (0.0, 1.0), (0.0, 1.0), int(seen)
        needles = self.met(self._needles, group)
        found = needles.scores(seen.float(), self.own_keys(at))
        light, heavy = torch.stack(found, -1).squeeze(1).tolist()  # each [2 strengths, 1]
        return tuple(light), tuple(heavy), int(seen)
