"""Kernels that are right for the inputs of a benchmark alone, or that do less when timed.

And honest ones under the same checks.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch

from attnbench.kernels.attn.naive import NaivePrepared
from attnbench.kernels.attn.sdpa import SdpaPrepared
from attnbench.kernels.base import Prepared, Setting
from attnbench.kernels.check import (
    WrongResult,
    check,
    check_again,
    check_repeated,
    require_inputs,
)
from attnbench.kernels.deviation import compare
from attnbench.kernels.groups import Group
from attnbench.kernels.prefill_trtllm.torch_gather import TorchGatherPrepared
from attnbench.kernels.registry import find
from attnbench.kernels.sdpa_kernel import Views
from attnbench.kernels.tolerance import attention
from attnbench.provenance.machine import Machine
from attnbench.specs.batch import parse_batch_spec
from attnbench.specs.case import Case
from attnbench.specs.quant import QUANTS
from attnbench.specs.shape import AttnShape, MlaShape
from tests.conftest import small_case
from tests.stale import measured

if TYPE_CHECKING:
    from torch import Tensor

CPU = Machine(kind="cpu", device="cpu", name="Xeon", cpu_count=2)
SINGLE = Setting("cpu", 1, seed=0)
ALONE = "; a launch of this set alone is right"
SPECS = ["3q1kv40", "q40kv77", "2q1kv700_q5kv33"]


def case(spec: str, **fields: Any) -> Case:
    given = {"shape": AttnShape(4, 2, 64), "dtype": "bf16", **fields}
    return Case("attn", "naive", parse_batch_spec(spec), **given)


class Skipping(NaivePrepared):
    """Computes only where its output is poisoned: in the first call of each set."""

    def _launch(self, index: int) -> None:
        if self.outputs[index].isnan().any():
            super()._launch(index)


class WritingBeyond(NaivePrepared):
    """Writes a row more than it has, which lies in the next set's output."""

    def _launch(self, index: int) -> None:
        super()._launch(index)
        for output in self.outputs[index + 1 : index + 2]:
            output[0, 0] = 0


class Attending(NaivePrepared):
    """Naive attention with scores in fp32, in parts that others change."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        """[n, keys, 2, KV heads, d]."""
        return self.pool[self.tables.of(index, group)].flatten(1, 2)[:, : group.kv_len]

    def weights(self, scores: "Tensor") -> "Tensor":
        return scores.softmax(-1)

    def product(self, weights: "Tensor", values: "Tensor") -> "Tensor":
        return weights.to(values.dtype) @ values

    def _attend(self, index: int, group: Group, mask: "Tensor | None") -> None:
        heads = (group.count, group.q_len, self.shape.num_kv_heads, -1, self.shape.head_dim)
        query = self.queries[index, group.tokens].view(heads).permute(0, 2, 3, 1, 4)
        keys, values = self.attended_keys(index, group).permute(2, 0, 3, 1, 4)
        scores = query.flatten(2, 3).float() @ keys.float().transpose(-1, -2) * self.scale
        scores = scores.unflatten(2, query.shape[2:4])
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        found = self.product(self.weights(scores).flatten(2, 3), values)
        found = found.unflatten(2, query.shape[2:4]).permute(0, 3, 1, 2, 4)
        self.outputs[index][group.tokens].view(heads).copy_(found)


class Gathering(Attending):
    """Reads the pages in the first call of each set, and its own copy of them later."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        kept: dict[tuple[int, Group], Tensor] = self.__dict__.setdefault("kept", {})
        if (index, group) not in kept:
            kept[index, group] = super().attended_keys(index, group).clone()
        return kept[index, group]


class KeepingKeys(Attending):
    """Reads keys in the first call of each set, values in every call."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        kept: dict[tuple[int, Group], Tensor] = self.__dict__.setdefault("kept", {})
        both = super().attended_keys(index, group).clone()
        both[:, :, 0] = kept.setdefault((index, group), both[:, :, 0].clone())
        return both


class KeepingPages(Attending):
    """Reads the page tables in the first call of each set."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        kept: dict[tuple[int, Group], Tensor] = self.__dict__.setdefault("kept", {})
        pages = kept.setdefault((index, group), self.tables.of(index, group).clone())
        return self.pool[pages].flatten(1, 2)[:, : group.kv_len]


class KeepingPagesApart(Attending):
    """Copies each page once for each pair of signs that its first key and value have."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        kept: dict[tuple[int, ...], Tensor] = self.__dict__.setdefault("kept", {})
        copies = []
        for page in self.tables.of(index, group).flatten().tolist():
            first = (self.pool[page, 0, :, 0, 0] > 0).tolist()
            copies.append(kept.setdefault((page, *first), self.pool[page].clone()))
        found = torch.stack(copies).unflatten(0, (group.count, -1))
        return found.flatten(1, 2)[:, : group.kv_len]


class KeepingTables(Attending):
    """Copies the keys of a table once for each sign that a request's first one has, slowly."""

    def attended_keys(self, index: int, group: Group) -> "Tensor":
        kept: dict[Any, Tensor] = self.__dict__.setdefault("kept", {})
        table = self.tables.of(index, group)
        signs = self.pool[table[:, 0].long(), 0, 0, 0, 0] > 0
        key = (group, *table.flatten().tolist(), *signs.tolist())
        for _ in range(1 if key in kept else 50):
            both = super().attended_keys(index, group).clone()
        both[:, :, 0] = kept.setdefault(key, both[:, :, 0].clone())
        return both


class Leaving(Attending):
    """Leaves its output where the queries and its first row are those of its last call."""

    def _launch(self, index: int) -> None:
        known: dict[int, tuple[Tensor, Tensor]] = self.__dict__.setdefault("known", {})
        queries, output = self.queries[index], self.outputs[index]
        if index in known and known[index][0].equal(queries) and known[index][1].equal(output[0]):
            return
        super()._launch(index)
        known[index] = queries.clone(), output[0].clone()


class Alternating(Attending):
    """Computes in every other call, and where its output is poisoned."""

    def _launch(self, index: int) -> None:
        self.launches = self.__dict__.get("launches", 0) + 1
        if self.launches % 2 or self.outputs[index].isnan().any():
            super()._launch(index)


class Overwriting(Attending):
    """Zeroes values of the last request of the next set."""

    def _launch(self, index: int) -> None:
        super()._launch(index)
        page = self.tables.tables[(index + 1) % len(self.outputs), -1, 0]
        self.pool[page.long(), :, 1] = 0


class Trespassing(Attending):
    """Writes to a page that nobody owns."""

    def _launch(self, index: int) -> None:
        super()._launch(index)
        self.pool[self.tables.strangers[0]] = 0


class Remembering(Attending):
    """Computes only where a set's queries are others than in its last call."""

    def _launch(self, index: int) -> None:
        known: dict[int, tuple[Tensor, Tensor]] = self.__dict__.setdefault("known", {})
        if index in known and known[index][0].equal(self.queries[index]):
            self.outputs[index].copy_(known[index][1])
            return
        super()._launch(index)
        known[index] = self.queries[index].clone(), self.outputs[index].clone()


class Comparing(Attending):
    """Copies results that it kept where queries and a value are those of its last call."""

    def _launch(self, index: int) -> None:
        known: dict[int, tuple[tuple[float, float], Tensor]] = self.__dict__.setdefault("known", {})
        value = self.pool[self.tables.tables[index, 0, 0].long(), 0, 1, 0, 0]
        inputs = float(self.queries[index].sum()), float(value)
        if index in known and known[index][0] == inputs:
            self.outputs[index].copy_(known[index][1])
            return
        super()._launch(index)
        known[index] = inputs, self.outputs[index].clone()


class Patient(Attending):
    """Copies results that it kept once queries and a value were equal in five calls."""

    def _launch(self, index: int) -> None:
        known: dict[int, tuple[tuple[float, float], int]] = self.__dict__.setdefault("known", {})
        kept: dict[int, Tensor] = self.__dict__.setdefault("kept", {})
        value = self.pool[self.tables.tables[index, 0, 0].long(), 0, 1, 0, 0]
        inputs = float(self.queries[index].sum()), float(value)
        before, calls = known.get(index, (inputs, 0))
        known[index] = inputs, calls + 1 if before == inputs else 1
        if known[index][1] > 5:
            self.outputs[index].copy_(kept[index])
            return
        super()._launch(index)
        kept[index] = self.outputs[index].clone()


class Racing(Attending):
    """One launch in 20 leaves a row as it was before the last split was merged."""

    def _launch(self, index: int) -> None:
        super()._launch(index)
        self.launches = self.__dict__.get("launches", 0) + 1
        if self.launches % 20 == 0:
            rows = self.outputs[index].flatten(0, 1)
            rows[self.launches % len(rows)] *= 0.8


class WrongAtFirst(Attending):
    """A row of each set is spoilt in its first launches."""

    num_wrong: ClassVar = 1
    launches: list[int]

    def _launch(self, index: int) -> None:
        super()._launch(index)
        self.launches = self.__dict__.get("launches", [0] * len(self.outputs))
        self.launches[index] += 1
        if self.launches[index] <= self.num_wrong:
            self.outputs[index].flatten(0, 1)[3] = 3.0


class WrongTwice(WrongAtFirst):
    """A row of each set is wrong in its first two launches."""

    num_wrong: ClassVar = 2


class BreakingDown(WrongAtFirst):
    """A row of each set is wrong in its first launch, and there is no second."""

    def _launch(self, index: int) -> None:
        super()._launch(index)
        if self.launches[index] > 1:
            raise RuntimeError("an illegal memory access was encountered")


class Reordering(Attending):
    """Sums values in another order in each launch."""

    def product(self, weights: "Tensor", values: "Tensor") -> "Tensor":
        self.launches = self.__dict__.get("launches", 0) + 1
        order = torch.arange(values.shape[-2]).roll(self.launches)
        return super().product(weights[..., order], values[..., order, :])


class Overflowing(Attending):
    """A softmax that does not subtract the largest score."""

    def weights(self, scores: "Tensor") -> "Tensor":
        exponentials = scores.exp()
        return exponentials / exponentials.sum(-1, keepdim=True)


class Clamping(Attending):
    """A softmax of scores up to 30, far more than random keys have."""

    def weights(self, scores: "Tensor") -> "Tensor":
        return scores.clamp(max=30.0).softmax(-1)


def fault(ready: Prepared, samples: int = 3) -> str | None:
    """What the checks of a round say; on a busy machine a sample may be of a single set."""
    with torch.inference_mode():
        ready.calls[0]()
        try:
            check(ready, seed=0)
            measured(ready, CPU, seed=0, samples=samples)
        except WrongResult as wrong:
            return str(wrong)
    return None


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "kernel",
    [
        Skipping,
        Leaving,
        Alternating,
        Gathering,
        KeepingKeys,
        KeepingPages,
        KeepingPagesApart,
        Remembering,
        Overflowing,
        Clamping,
    ],
)
def test_it_is_found(kernel: type[NaivePrepared], spec: str) -> None:
    found = fault(kernel(case(spec), Setting("cpu", 4, seed=0)))  # two of them are not poisoned
    assert found is not None
    assert found.startswith("launched again with ")


@pytest.mark.parametrize("kernel", [Comparing, Patient])
def test_results_that_are_kept_for_equal_inputs_are_found_by_the_time_of_new_ones(
    kernel: type[NaivePrepared],
) -> None:
    """Whatever it compares: it is right for all inputs, and slow for those that it has not seen."""
    long = case("4q1kv2k", shape=AttnShape(8, 2, 128))
    found = str(fault(kernel(long, SINGLE)))
    assert found.startswith("a call takes ")
    assert found.endswith(
        " times as long with new inputs as with the same again, so it keeps results"
    )
    assert fault(Attending(long, Setting("cpu", 3, seed=0))) is None


class Slowing(Attending):
    """Takes ever longer, as beside other programs, whatever its inputs."""

    def _launch(self, index: int) -> None:
        self.launches = self.__dict__.get("launches", 0) + 1
        for _ in range(1 + (self.launches > 20)):
            super()._launch(index)


class Disturbed(Attending):
    """Beside other programs, which slow it down the first five times that its inputs are new."""

    def renew(self, seed: int) -> None:
        super().renew(seed)
        self.renewals = self.__dict__.get("renewals", 0) + 1
        self.slow = len(self.calls) if self.renewals <= 5 else 0

    def _launch(self, index: int) -> None:
        slow = self.__dict__.get("slow", 0)
        for _ in range(4 if slow else 1):
            super()._launch(index)
        self.slow = max(slow - 1, 0)


class Crowded(Attending):
    """Beside other programs, which leave it alone once: in a launch of inputs that it has seen."""

    def renew(self, seed: int) -> None:
        super().renew(seed)
        self.renewals = self.__dict__.get("renewals", 0) + 1
        self.left = len(self.calls)

    def _launch(self, index: int) -> None:
        renewals, left = self.__dict__.get("renewals", 0), self.__dict__.get("left", 0)
        known = 1 if renewals in (0, 2) else 9
        for _ in range(6 if left else known):
            super()._launch(index)
        self.left = max(left - 1, 0)


class Cooling(Attending):
    """Slow once after any values were drawn, which take the place of its own in caches."""

    def renew(self, seed: int) -> None:
        super().renew(seed)
        self.cold = len(self.calls)

    def _launch(self, index: int) -> None:
        drawn = torch.random.get_rng_state()
        if not torch.equal(self.__dict__.setdefault("drawn", drawn), drawn):
            self.drawn, self.cold = drawn, len(self.calls)
        cold = self.__dict__.get("cold", 0)
        for _ in range(6 if cold else 1):
            super()._launch(index)
        self.cold = max(cold - 1, 0)


@pytest.mark.parametrize(
    ("kernel", "spec"),
    [
        (Cooling, "4q1kv2k"),
        (Disturbed, "4q1kv2k"),
        (Slowing, "4q1kv4k"),
        (Crowded, "4q1kv512"),
    ],
)
def test_a_kernel_that_is_slow_for_another_reason_keeps_no_results(
    kernel: type[NaivePrepared], spec: str
) -> None:
    given = case(spec, shape=AttnShape(8, 2, 128))
    assert fault(kernel(given, Setting("cpu", 3, seed=0))) is None


def test_a_quick_launch_with_new_inputs_is_compared_too() -> None:
    """The tables come back after as many changes as there are sets, but other signs with them."""
    asked = case("4q1kv1k", shape=AttnShape(8, 2, 128))
    found = fault(KeepingTables(asked, Setting("cpu", 2, seed=0)))
    # A busy machine may make it slower with new inputs as well, which is said first.
    assert str(found).startswith(("after timing, in working set ", "a call takes "))


class KeepingDenseKeys(SdpaPrepared):
    """SDPA with the keys of its first call."""

    def _views(self, index: int, at: int) -> Views:
        kept: dict[tuple[int, int], Tensor] = self.__dict__.setdefault("kept", {})
        query, keys, values = super()._views(index, at)
        return query, kept.setdefault((index, at), keys.clone()), values


@pytest.mark.parametrize("spec", SPECS)
def test_keys_that_are_kept_are_found_where_there_are_no_pages(spec: str) -> None:
    found = fault(KeepingDenseKeys(replace(case(spec), backend="sdpa"), Setting("cpu", 2, seed=0)))
    assert str(found).startswith("launched again with new inputs")


class Widening(TorchGatherPrepared):
    """Keeps keys and values as it widened them once, or only one of both."""

    kept_parts: ClassVar[tuple[int, ...]] = (1, 2)  # of queries, keys and values

    def _views(self, index: int, group: Group) -> Views:
        kept: dict[tuple[int, Group], Views] = self.__dict__.setdefault("kept", {})
        fresh = super()._views(index, group)
        old = kept.setdefault((index, group), fresh)
        query, keys, values = (old[at] if at in self.kept_parts else fresh[at] for at in range(3))
        return query, keys, values


class WideningKeys(Widening):
    """Only keys."""

    kept_parts: ClassVar = (1,)


class WideningValues(Widening):
    """Only values."""

    kept_parts: ClassVar = (2,)


@pytest.mark.parametrize("quant", QUANTS)
@pytest.mark.parametrize("kernel", [Widening, WideningKeys, WideningValues, TorchGatherPrepared])
def test_a_cache_that_is_read_once_is_found_in_every_quantisation(
    kernel: type[TorchGatherPrepared], quant: str
) -> None:
    fields: dict[str, Any] = dict(QUANTS[quant])
    asked = small_case("prefill-trtllm", "torch", "2q20kv40", **fields)
    found = fault(kernel(asked, Setting("cpu", 2, seed=0)))
    assert (found is None) == (kernel is TorchGatherPrepared), found


@pytest.mark.parametrize(("requests", "sets"), [(8, 16), (16, 8), (32, 4), (5, 25)])
def test_every_request_is_compared_in_other_sets_though_their_numbers_have_a_factor_in_common(
    requests: int, sets: int
) -> None:
    ready = find("attn", "naive").prepare(case(f"{requests}q1kv40"), Setting("cpu", sets, seed=0))
    asked, expected = set[tuple[int, int]](), ready.expected

    def noted(sets: "Tensor", rows: "Tensor") -> "Tensor":
        asked.update(zip(sets.tolist(), (rows[:, 0] // 4).tolist(), strict=True))
        return expected(sets, rows)

    ready.__dict__["expected"] = noted
    with torch.inference_mode():
        for call in ready.calls:
            call()
        check_again(ready, sets, seed=0)
    assert len(asked) > 0.7 * requests * sets
    assert {at for at, _ in asked} == set(range(sets))
    assert {request for _, request in asked} == set(range(requests))


@pytest.mark.parametrize("kernel", [Skipping, Gathering, Remembering])
def test_it_is_found_in_a_single_set(kernel: type[NaivePrepared]) -> None:
    assert fault(kernel(case("3q1kv40"), Setting("cpu", 1, seed=0))) is not None


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("kernel", [Overwriting, Trespassing])
def test_a_write_to_the_cache_is_found_whoever_owns_the_page(
    kernel: type[NaivePrepared], spec: str
) -> None:
    ready = kernel(case(spec), Setting("cpu", 2, seed=0))
    before = ready.digest()
    with torch.inference_mode():
        ready.calls[0]()
    with pytest.raises(WrongResult, match="its call overwrites its inputs"):
        require_inputs(ready, before)


def test_an_honest_call_leaves_its_inputs() -> None:
    for backend in ("naive", "sdpa"):
        ready = find("attn", backend).prepare(case("3q1kv40_q8kv50"), Setting("cpu", 2, seed=0))
        before = ready.digest()
        ready.calls[1]()
        require_inputs(ready, before)


@pytest.mark.parametrize(("spec", "sets"), [("5q1kv40", 15), ("5q1kv40", 3), ("4q3kv40", 4)])
def test_a_head_that_is_wrong_in_one_set_alone_is_found(spec: str, sets: int) -> None:
    """Also where the number of sets is a multiple of that of the requests."""
    for row in (0, 9, 19):
        ready = Attending(case(spec), Setting("cpu", sets, seed=0))
        launch = ready.calls[-1]

        def wrong(row: int = row, launch: Any = launch, out: Any = ready.outputs[-1]) -> None:
            launch()
            out.flatten(0, 1)[row] *= 0.9

        ready.calls = [*ready.calls[:-1], wrong]
        found = str(fault(ready, samples=sets))
        assert found.startswith(f"after timing, in working set {sets - 1}: ")


@pytest.mark.parametrize(
    ("spec", "row", "place"),
    [
        ("3q1kv40", 9, "request 2, head 1"),
        ("2q1kv700_q5kv33", 27, "request 2, new token 4, head 3"),
    ],
)
def test_a_wrong_element_is_named_by_its_request_token_and_head(
    spec: str, row: int, place: str
) -> None:
    ready = Attending(case(spec), Setting("cpu", 2, seed=0))
    launch = ready.calls[0]

    def wrong() -> None:
        launch()
        ready.outputs[0].flatten(0, 1)[row, 7] += 1

    ready.calls = [wrong, *ready.calls[1:]]
    assert str(fault(ready)).endswith(f"is allowed ({place}, element 7)")


@pytest.mark.parametrize("spec", SPECS)
def test_the_kernel_that_they_change_is_right(spec: str) -> None:
    assert fault(Attending(case(spec), Setting("cpu", 2, seed=0))) is None


@pytest.mark.parametrize("spec", SPECS)
def test_a_write_outside_of_the_output_is_found_before_the_next_set_hides_it(spec: str) -> None:
    found = fault(WritingBeyond(case(spec), Setting("cpu", 2, seed=0)))
    assert found == "its call writes outside its own output"


def test_a_kernel_that_is_wrong_now_and_then_is_found_by_launching_it_again() -> None:
    """Of 1536 rows, one in 20 launches is wrong: too few for a sample of rows."""
    racing = Racing(case("2q64kv80", shape=AttnShape(12, 2, 64)), Setting("cpu", 24, seed=0))

    def launch() -> None:
        for call in racing.calls:
            call()

    launch()
    fault = "launched again with its values negated, [12] of 36864 rows are not negated"
    with pytest.raises(WrongResult, match=fault):
        check_repeated(racing, launch, 24)


@pytest.mark.parametrize(
    ("kernel", "says_so"), [(WrongAtFirst, True), (WrongTwice, False), (BreakingDown, False)]
)
def test_a_fault_says_so_if_another_launch_is_right(
    kernel: type[NaivePrepared], *, says_so: bool
) -> None:
    with pytest.raises(WrongResult) as before_timing:
        check(kernel(case("3q1kv40"), Setting("cpu", 2, seed=0)), seed=0)
    timed = kernel(case("3q1kv40"), Setting("cpu", 2, seed=0))
    for call in timed.calls:
        call()
    with pytest.raises(WrongResult, match=r"^after timing, in working set 0: ") as after_timing:
        check_again(timed, 2, seed=0)
    for raised in (before_timing, after_timing):
        assert str(raised.value).endswith(ALONE) is says_so


def test_a_row_that_no_sample_has_and_that_timing_left_unwritten_is_found() -> None:
    ready = NaivePrepared(case("2q64kv80", shape=AttnShape(12, 2, 64)), Setting("cpu", 24, seed=0))
    for call in ready.calls:
        call()
    check_again(ready, 24, seed=0)
    ready.output(20)[100] = float("nan")
    with pytest.raises(WrongResult, match="in working set 20: 1 of 1536 rows hold NaN"):
        check_again(ready, 24, seed=0)


@pytest.mark.parametrize("spec", SPECS)
def test_sums_in_another_order_pass(spec: str) -> None:
    assert fault(Reordering(case(spec), Setting("cpu", 2, seed=0))) is None


HONEST: list[dict[str, Any]] = [
    {},
    {"shape": AttnShape(1, 1, 64)},
    {"shape": AttnShape(4, 1, 128)},
    {"shape": AttnShape(3, 3, 64), "dtype": "fp16"},
    {"window": 17},
    {"sinks": True},
    {"softcap": 20.0},
    {"kv_data": "zeros"},
]


@pytest.mark.parametrize("fields", HONEST, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_honest_kernel_passes_with_large_scores(fields: dict[str, Any], seed: int) -> None:
    for spec in SPECS:
        asked = case(spec, **fields)
        assert fault(find("attn", "naive").prepare(asked, Setting("cpu", 2, seed))) is None


def test_the_only_weight_beside_a_sink_is_allowed_its_rounding() -> None:
    """A request of one key: the rounding of its score is the error of the whole row."""
    asked = case("7q1", shape=AttnShape(16, 4, 128), sinks=True)
    for seed in (0, 6, 33, 43, 46, 49, 53):
        assert fault(find("attn", "naive").prepare(asked, Setting("cpu", 2, seed))) is None


@pytest.mark.parametrize(
    ("backend", "fields", "spec"),
    [
        ("naive", {"shape": AttnShape(64, 1, 16)}, "12q1kv300_q127"),
        ("sdpa", {"shape": AttnShape(64, 1, 2)}, "5q31kv515"),
        ("naive", {"shape": AttnShape(128, 8, 4)}, "3q1kv3_6q1kv515"),
    ],
)
def test_an_honest_row_of_few_elements_is_judged_beside_others(
    backend: str, fields: dict[str, Any], spec: str
) -> None:
    """By chance it is so small that its error is many times that of other rows."""
    for seed in (0, 1, 2):
        asked = replace(case(spec, **fields), backend=backend)
        assert fault(find("attn", backend).prepare(asked, Setting("cpu", 2, seed))) is None


@pytest.mark.parametrize("spec", ["5q7kv300", "q5kv15_q200", "3q1kv127_5q1kv300"])
def test_an_honest_kernel_passes_whose_latents_are_long_beside_its_heads(spec: str) -> None:
    """Scores of random latents then vary by 4 instead of 1, and are rounded."""
    shape = MlaShape(8, kv_lora_rank=512, qk_nope_head_dim=16, qk_rope_head_dim=16, v_head_dim=64)
    asked = Case("mla", "torch-absorbed", parse_batch_spec(spec), shape, "bf16", scope="kernel")
    for seed in (0, 1, 2):
        assert fault(find("mla", "torch-absorbed").prepare(asked, Setting("cpu", 2, seed))) is None


def test_a_wrong_element_of_few_is_still_named() -> None:
    ready = find("attn", "naive").prepare(case("5q1kv40", shape=AttnShape(2, 1, 8)), SINGLE)
    ready.calls[0]()
    expected = ready.expected(torch.zeros(10, dtype=torch.int64), torch.arange(10))
    for row in range(10):
        wrong = expected.clone()
        wrong[row, 7] += 1
        found = compare(wrong, expected, ready.tolerance, ready.place)
        at = f"(request {row // 2}, head {row % 2}, element 7)"
        assert str(found.fault).endswith(at)


class Coarse(Attending):
    """Sums over tiles of 64 keys in bf16."""

    def product(self, weights: "Tensor", values: "Tensor") -> "Tensor":
        parts = zip(weights.to(values.dtype).split(64, -1), values.split(64, -2), strict=True)
        total = torch.zeros_like(values[..., :1, :])
        for part, of_part in parts:
            total = total + part @ of_part
        return total


def test_sums_in_bf16_are_found_by_the_tolerance_of_scores_in_fp32() -> None:
    """Naive rounds scores, and its tolerance allows for that."""
    asked, setting = case("2q1kv2k"), Setting("cpu", 2, seed=0)
    assert fault(Coarse(asked, setting)) is None
    coarse, fine = Coarse(asked, setting), Attending(asked, setting)
    coarse.tolerance = fine.tolerance = attention("bf16")
    assert fault(coarse) is not None
    assert fault(fine) is None
