"""Where a measurement comes from: machine, software, code under test."""

from typing import TypeAlias

# What JSON can hold: facts come back from a worker or a database equal to what went in.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
