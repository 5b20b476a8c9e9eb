"""The origin of a measurement: machine, software, code under test."""

from typing import TypeAlias

# The values of JSON: facts return unchanged from a worker or a database.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
