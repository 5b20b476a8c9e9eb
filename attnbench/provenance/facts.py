"""The type of what is stored of a machine or an environment."""

from typing import TypeAlias

# What JSON can hold: facts come back from a worker or a database equal to what went in.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
