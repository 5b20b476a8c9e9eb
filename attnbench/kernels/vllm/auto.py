"""A backend that stands for the one that the installed vLLM takes by itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from attnbench.errors import UsageError
from attnbench.kernels.base import FEATURES, Backend, Prepared, Refused, Setting
from attnbench.kernels.registry import find
from attnbench.kernels.vllm.selector import selected
from attnbench.kernels.vllm.served import SERVER_KNOBS
from attnbench.provenance.machine import Machine
from attnbench.records import SELECTED
from attnbench.specs.batch import Batch, Request
from attnbench.specs.case import Case

ONE_TOKEN = Batch((Request(1, 1),))
# A server's knobs that mean nothing to a backend without them.
SERVED = (("decode_kernel", "served"), ("mixed_windows", True))


class Auto(Backend):
    """vLLM's choice for the shape, the data types and the GPU; batches do not matter to it.

    `refusal` asks vLLM, which only a worker may import. Before that, the memory and the split of a
    batch are those of a backend that cannot say.
    """

    name: ClassVar = "auto"
    module: ClassVar = "vllm"
    devices: ClassVar = ("cuda",)
    knobs: ClassVar[frozenset[str]] = SERVER_KNOBS
    features: ClassVar = frozenset(FEATURES)
    layouts: ClassVar = ("NHD", "HND")
    kv_cache_dtypes: ClassVar = ("auto", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_ds_mla")
    scopes: ClassVar = ("kernel", "layer")

    def __init__(self) -> None:
        self._chosen: dict[Case, Backend] = {}

    def refusal(self, case: Case, machine: Machine) -> str | None:
        if why := super().refusal(case, machine):
            return why
        try:
            chosen = self._ask(case)
        except Refused as refused:
            return str(refused)
        if why := chosen.refusal(_as(case, chosen), machine):
            return f"is {chosen.name} here, which says: {why}"
        return None

    def stands_for(self, case: Case) -> Case | None:
        chosen = self._chosen.get(_question(case))
        return None if chosen is None else _as(case, chosen)

    def prepare(self, case: Case, setting: Setting) -> Prepared:
        chosen = self._ask(case)
        ready = chosen.prepare(_as(case, chosen), setting)
        ready.resolved = {SELECTED: chosen.name, **ready.resolved}
        return ready

    def memory(self, case: Case, sets: int, machine: Machine) -> Mapping[str, float] | None:
        twin = self.stands_for(case)
        return None if twin is None else find(case.family, twin.backend).memory(twin, sets, machine)

    def num_decode(self, case: Case) -> int:
        twin = self.stands_for(case)
        if twin is None:
            return super().num_decode(case)
        return find(case.family, twin.backend).num_decode(twin)

    def _ask(self, case: Case) -> Backend:
        """vLLM's choice. Raises Refused if it has none, or one that attnbench does not offer."""
        question = _question(case)
        if question not in self._chosen:
            name = selected(question)
            try:
                self._chosen[question] = find(case.family, name)
            except UsageError:
                raise Refused(f"is vLLM's {name} here, which attnbench does not offer") from None
        return self._chosen[question]


def _question(case: Case) -> Case:
    """The case as far as vLLM chooses by it."""
    return replace(case, batch=ONE_TOKEN, knobs=(), layout=None, scope="kernel")


def _as(case: Case, backend: Backend) -> Case:
    """The case as the backend's own command line would ask for it."""
    foreign = [each for each in SERVED if each[0] not in backend.knobs]
    knobs = tuple(each for each in case.knobs if each not in foreign)
    return replace(case, backend=backend.name, knobs=knobs)
