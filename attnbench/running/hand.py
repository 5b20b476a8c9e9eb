"""Hands: the groups that a device measures now."""

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.running.card import Card
from attnbench.running.deck import Group
from attnbench.running.messages import MeasureSentinels, Probe
from attnbench.running.script import Script, Turn

Ask = Turn | Probe | MeasureSentinels
Seat = tuple[Card, ...]  # a device: its card for each run


@dataclass
class Hand:
    """The groups that a device measures now."""

    seat: Seat
    groups: Sequence[Group]
    script: Script
    side: int = 0  # the run that it measures for
    ask: Ask | None = None  # that it waits for
    again: tuple[int, Turn] | None = None  # the last whose worker died, and which got a second try

    @property
    def card(self) -> Card:
        """The card that measures now."""
        return self.seat[self.side]
