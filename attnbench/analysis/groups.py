"""Kinds of cells that share their noise."""

from attnbench.analysis.estimate import Stratum

Group = tuple[str, Stratum]  # a family and a kind of duration
