"""DeepSeek's FlashMLA as vLLM serves it."""

from typing import ClassVar

from attnbench.kernels.base import Backend, Prepared, Refused, Setting
from attnbench.provenance.machine import Machine
from attnbench.specs.case import Case

NOT_DRIVEN = "is not driven by this release of attnbench yet; torch-absorbed and torch-mha are"


class FlashMla(Backend):
    """Known by name, so that asking for it tells what it needs; it measures nothing yet."""

    name: ClassVar = "flashmla"
    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    knobs: ClassVar = frozenset({"threshold"})
    scopes: ClassVar = ("kernel", "layer")
    path: ClassVar = "decode"

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if machine.capability is not None and machine.capability[0] != 9:
            return f"needs SM90; this is {machine.label}"
        return super().refusal(case, machine) or NOT_DRIVEN

    def prepare(self, case: Case, setting: Setting) -> Prepared:
        raise Refused(NOT_DRIVEN)
