"""The tables of options: what is derived from them is true of every option there is."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from click import BadOptionUsage, Command, Context, Group
from click import Option as ClickOption
from click.testing import CliRunner
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from attnbench.cli import cli
from attnbench.commands.family_request import read_request
from attnbench.commands.table import TableOption
from attnbench.errors import UsageError
from attnbench.families import FAMILIES, SUITE_KNOBS
from attnbench.families.family import Family
from attnbench.kernels.registry import backends
from attnbench.options.kinds import Choice, Number, Whole
from attnbench.options.option import NamedOption, Option, table
from attnbench.provenance.machine import Machine
from attnbench.results.command_line import case_command
from attnbench.running.measuring import Measuring
from attnbench.running.plan import Limits, Plan
from attnbench.running.request import MeasuringRequest
from attnbench.running.this_machine import examine
from attnbench.specs.case import FLAT_FIELDS, Case
from attnbench.studies.cases import cells_of
from attnbench.studies.file import read_study
from attnbench.studies.request import StudyRequest
from tests.fake_worker import Does, FakeDevice

GPU = Machine(kind="cuda", device="cuda:0", name="NVIDIA H200")
CPU = Machine(kind="cpu", device="cpu", name="CPU")
# Words for options whose kind does not tell them.
WORDS = {
    "--backend": ["all"],
    "--implementation": ["all"],
    "--batch-specs": ["2q8_3q1kv20", "{1..4:x2}q1kv64"],
    "--num-tokens": ["24", "1..4k:x4"],
    "--batch-sizes": ["3"],
    "--seq-lens": ["1k"],
    "--itl": ["10ms"],
    "--max-model-len": ["32k", "batch"],
    "--device": ["cpu", "cuda:1"],
    "--ray": ["local"],
    "--gpu": ["H100"],
    "--source": ["."],
    "--output-csv": ["out.csv"],
    "--output-json": ["out.json"],
    "--label": ["mine"],
    "--db": ["mine.db"],
    "--resume": ["3"],
}
# What an option means nothing without.
BESIDE = {"--compare-auto": ["--num-splits", "2"], "--itl": ["--model", "llama3-8b"]}


def lines(option: Option) -> Iterator[list[str]]:
    """Ways to give an option: each value that it takes, and by each of its names."""
    beside = BESIDE.get(option.names[0], [])
    if option.flag:
        yield from ([name, *beside] for name in option.names)
        return
    for word in words(option):
        yield [option.names[0], word, *beside]
    yield from ([name, words(option)[0], *beside] for name in option.names[1:])


def words(option: Option) -> list[str]:
    """Words that an option takes."""
    match option.kind:
        case Choice(values=values, aliases=aliases):
            return [*values, *aliases]
        case Whole(least=least):
            return [str(least + 15)]
        case Number():
            return ["30"]
    return WORDS[option.names[0]]


def request(family: str, *words: str) -> MeasuringRequest:
    """What a command line asks for."""
    command = cli.get_command(Context(cli), family)
    assert command is not None
    with Context(command, **cli.context_settings):
        return read_request(FAMILIES[family], family, words)


def plan(family: str, *words: str, machine: Machine = GPU) -> Plan:
    """What a command line measures."""
    return request(family, *words).plan_for(lambda _: None)(machine)


def one_a_backend(cases: tuple[Case, ...]) -> list[Case]:
    """A case of each backend."""
    return list({case.backend: case for case in cases}.values())


# The only backend named, where the paths of several would do unequal work.
ONE_PATH = {("mla", "--scope"): ["--backend", "torch-absorbed"]}
OF_FAMILIES = [
    (name, [*line, *ONE_PATH.get((name, line[0]), [])])
    for name, family in FAMILIES.items()
    for option in table(family.options).values()
    for line in lines(option)
]
EVERY_OPTION = pytest.mark.parametrize(
    ("family", "line"), OF_FAMILIES, ids=[f"{name} {' '.join(line)}" for name, line in OF_FAMILIES]
)


@EVERY_OPTION
def test_repro_asks_for_what_an_option_of_a_family_asked_for(family: str, line: list[str]) -> None:
    found = plan(family, *line)
    for case in one_a_backend(found.cases):
        assert measured_again(case, found) == (case,)


def measured_again(case: Case, found: Plan, machine: Machine = GPU) -> tuple[Case, ...]:
    """What the command that repro prints for a case measures."""
    name, family, *rest = case_command(case, found.methods[0].as_facts(), found.as_facts())
    assert (name, family) == ("attnbench", case.family)
    return plan(family, *rest, machine=machine).cases


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=30)
def test_repro_asks_for_what_several_options_asked_for(family: str, data: st.DataObject) -> None:
    known = list(table(FAMILIES[family].options).values())
    some = st.lists(
        st.sampled_from(known), min_size=2, max_size=4, unique_by=lambda each: each.names
    )
    chosen = [data.draw(st.sampled_from(list(lines(option)))) for option in data.draw(some)]
    line = [word for words in chosen for word in words]
    try:
        found = plan(family, *line)
    except UsageError:
        assume(False)
    case = data.draw(st.sampled_from(found.cases))
    assert measured_again(case, found) == (case,)


@pytest.mark.parametrize(
    ("line", "machine"),
    [
        ("mla --backend torch-absorbed --thresholds 4 --scope kernel", GPU),
        ("mla --backend flashattn_mla --num-splits 2 --compare-auto", GPU),
        ("cache-write --kind mla --model glm-5 --kv-cache-dtype fp8_ds_mla", GPU),
        ("prefill-trtllm --backend torch --quant fp8", GPU),
        ("prefill-trtllm --backend torch", CPU),
    ],
)
def test_repro_asks_for_what_depends_on_the_device_or_on_other_options(
    line: str, machine: Machine
) -> None:
    found = plan(*line.split(), machine=machine)
    for case in found.cases:
        assert measured_again(case, found, machine) == (case,)


MEASURING = [line for option in table(Measuring).values() for line in lines(option)]


@pytest.mark.parametrize("machine", [GPU, CPU], ids=lambda machine: machine.kind)
@pytest.mark.parametrize("line", MEASURING, ids=" ".join)
def test_repro_measures_as_an_option_asked_to(line: list[str], machine: Machine) -> None:
    found = plan("attn", "--backend", "sdpa", "--batch-specs", "q8", *line, machine=machine)
    for method in found.methods:
        _, family, *rest = case_command(found.cases[0], method.as_facts(), found.as_facts())
        again = plan(family, *rest, machine=machine)
        # Limits end what hangs, and change no time.
        ran = [replace(each, methods=each.methods_of(found.cases[0])) for each in (again, found)]
        methods = Plan(found.cases, (method,)).methods_of(found.cases[0])
        assert replace(ran[0], limits=found.limits) == replace(ran[1], methods=methods)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_knobs_of_backends_are_those_that_options_set(family: str) -> None:
    options = table(FAMILIES[family].options).items()
    knobs = {name for backend in backends(family) for name in backend.knobs}
    assert {name for name, option in options if option.knob} == knobs


STUDY = """\
question: Which is fastest?
family: {family}
answer: {{winner: {{}}}}
sweep:
  - {{backend: all, batch: "{{batch_size}}q{{q_len}}", batch_size: [1, 2], q_len: [8, 16]}}
"""
# What means nothing to a sweep.
NOT_SWEPT = {"--compare-auto", "--itl", "--lengths", "--save-csv"}


@EVERY_OPTION
def test_a_study_sweeps_what_an_option_says_or_refuses_it_by_the_name_that_was_typed(
    family: str, line: list[str]
) -> None:
    study = read_study(STUDY.format(family=family), "mine", "mine.yaml", FAMILIES)
    named = request(family, *line).named
    if line[0] in NOT_SWEPT:
        with pytest.raises(UsageError) as caught:
            StudyRequest.of(study, named, is_quick=False, is_exhaustive=False)
        assert str(caught.value) == f"{line[0]} sets nothing that a study sweeps; leave it out"
        return
    asked = StudyRequest.of(study, named, is_quick=False, is_exhaustive=False)
    swept = cells_of(asked.study, "cuda").cases
    assert swept
    for field, each in named.items():
        assert_swept(FAMILIES[family], field, each, swept)


def assert_swept(family: Family, field: str, named: NamedOption, swept: tuple[Case, ...]) -> None:
    """That the cases have what an option says: a field, a knob, a shape, batches."""
    asked = family.asked(request(family.name, named.typed, *map(str, typed_words(named))).options)
    if field in FLAT_FIELDS and field != "backend":
        paged = [case for case in swept if case.fields()[field] is not None]
        assert {case.fields()[field] for case in paged} == set(asked.fields[field])
    if named.option.knob:
        assert {case.knob(field) for case in swept} - {None} == set(asked.knobs[field]) - {None}
    if named.option.heading == "Shape":
        assert {case.shape for case in swept} == {asked.shape}
    if family.together and field == family.together.name:
        assert {family.together.name_of(case) for case in swept} == set(typed_words(named))
    if field == "batch":
        asked_for = {each.in_execution_order() for each in asked.batches}
        assert {case.batch for case in swept} == asked_for
    if field == "batch_size":
        assert {len(case.batch) for case in swept} == set(named.plain)
    if field == "q_len":
        assert {case.batch.max_q_len for case in swept} == set(named.plain)


def typed_words(named: NamedOption) -> list[str]:
    """The words after an option that gave its value."""
    if named.option.flag:
        return []
    values = named.value if isinstance(named.value, tuple) else (named.value,)
    return [named.option.kind.word(value) for value in values]


def test_the_studies_that_came_with_names_of_options_take_them() -> None:
    runner = CliRunner()
    for line in (
        "study prefill-quant --quant bf16",
        "study prefill-quant --quant bf16 fp8-qkv",
        "study prefill-quant --batch-sizes 4 --seq-lens 2k",
        "study cache-layout --slots contiguous",
        "study cache-layout --num-heads 4",
    ):
        done = runner.invoke(cli, [*line.split(), "--device", "cpu", "--dry-run"])
        assert done.exit_code == 0, done.output
        assert "Nothing was" in done.output


def test_an_option_with_two_names_is_refused_by_the_one_that_was_typed() -> None:
    text = STUDY.format(family="prefill-trtllm").replace(
        "winner: {}", "contrast: {field: layout, pairs: [[NHD, HND]]}"
    )
    study = read_study(
        text.replace("all,", "all, layout: [NHD, HND],"), "mine", "mine.yaml", FAMILIES
    )
    for name in ("--kv-layout", "--layout"):
        named = request("prefill-trtllm", name, "NHD").named
        with pytest.raises(UsageError, match=f"^{name} NHD: mine .*, e.g. {name} NHD HND$"):
            StudyRequest.of(study, named, is_quick=False, is_exhaustive=False)


def test_one_side_of_a_contrast_is_refused_by_the_name_and_the_word_that_were_typed() -> None:
    text = (
        STUDY.format(family="cache-write")
        .replace("winner: {}", "contrast: {field: page_order, pairs: [[scattered, contiguous]]}")
        .replace("backend: all", "backend: all, page_order: [scattered, contiguous]")
    )
    study = read_study(text, "mine", "mine.yaml", FAMILIES)
    named = request("cache-write", "--slots", "random").named
    with pytest.raises(UsageError) as caught:
        StudyRequest.of(study, named, is_quick=False, is_exhaustive=False)
    assert str(caught.value) == (
        "--slots random: mine compares values of page_order, so it needs two or more, e.g. "
        "--slots random contiguous"
    )


@pytest.mark.parametrize("machine", [GPU, CPU], ids=lambda machine: machine.kind)
def test_doctor_asks_about_the_cases_that_the_commands_measure(machine: Machine) -> None:
    device = FakeDevice(machine=machine)
    examine(machine.device, device.start)
    measured = [case for family in FAMILIES for case in plan(family, machine=machine).cases]
    assert device.workers[0].probed == measured


def test_doctor_tells_why_a_backend_can_run_none_of_them() -> None:
    device = FakeDevice({"naive": Does(refuses="needs luck")})
    found = {(family, name): why for family, name, why in examine("cpu", device.start).backends}
    assert found["attn", "naive"] == "needs luck"
    assert found["attn", "sdpa"] is None


@pytest.mark.parametrize("family", FAMILIES)
def test_help_has_a_section_for_each_kind_of_option(family: str) -> None:
    shown = CliRunner().invoke(cli, [family, "--help"]).output
    sections = [line for line in shown.splitlines() if line and line[0] != " " and line[-1] == ":"]
    assert sections == ["Selection:", "Shape:", "Data:", "Timing:", "Run:", "Output:", "Options:"]
    timing = shown[shown.index("Timing:") : shown.index("Run:")]
    assert "--rounds" in timing
    assert "--db" not in timing


def test_a_resumed_run_must_share_what_was_named_but_for_what_changes_no_outcome() -> None:
    asked = request("attn", "--window", "8", "--rounds", "2", "--db", "x.db", "--wait", "--seed=1")
    assert asked.command([]).options == {"window": [8], "rounds": 2, "seed": 1}


def test_an_option_by_another_name_is_stored_by_its_first() -> None:
    asked = request("prefill-trtllm", "--layout", "NHD", "--iters", "9")
    assert asked.command([]).options == {"kv_layout": ["NHD"], "repeats": 9}


def test_the_backends_own_choice_is_compared_with_the_splits_that_were_asked_for() -> None:
    found = plan("mla", "--backend", "flashattn_mla", "--num-splits", "2", "4", "--compare-auto")
    assert {case.knob("num_splits") for case in found.cases} == {2, 4, None}


def test_timers_and_caches_are_measured_each_with_each() -> None:
    found = plan("attn", "--mode", "eager", "no_graph", "--verify-timer", "--cache", "both")
    assert [(each.timer, each.cache) for each in found.methods] == [
        ("eager", "cold"),
        ("kernel", "cold"),
        ("eager", "hot"),
        ("kernel", "hot"),
    ]


def test_vllms_suite_has_names_of_its_own_for_our_knobs() -> None:
    assert SUITE_KNOBS == {
        "num_kv_splits": "num_splits",
        "num_splits": "num_splits",
        "prefill_backend": "prefill_backend",
        "reorder_batch_threshold": "threshold",
        "sparse_mla_force_mqa": "force_mqa",
    }


def test_limits_are_those_that_were_asked_for() -> None:
    found = plan("attn", "--timeout", "7", "--prepare-timeout", "8")
    assert found.limits == Limits(measure=7.0, prepare=8.0)


def test_a_case_that_no_command_asks_for_is_told_by_its_field() -> None:
    case = replace(plan("attn").cases[0], index_topk=8)
    with pytest.raises(UsageError) as caught:
        FAMILIES["attn"].words(case)
    assert str(caught.value) == "no option of `attnbench attn` sets index_topk as in this case"


def commands(group: Group, *names: str) -> Iterator[tuple[tuple[str, ...], Command]]:
    """All commands below a group, each with the words that call it."""
    ctx = Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


BARE = [
    pytest.param(command, name, id=" ".join((*words, name)))
    for words, command in commands(cli)
    for parameter in command.params
    if isinstance(parameter, ClickOption) and not parameter.is_flag
    for name in parameter.opts
    if name not in ("--resume", "--ray")  # alone: the latest run, the running cluster
]
NUMBERS = [
    (*words, name)
    for words, command in commands(cli)
    for parameter in command.params
    if isinstance(parameter, TableOption) and isinstance(parameter.option.kind, Whole | Number)
    for name in parameter.opts
]


@pytest.mark.parametrize(("command", "name"), BARE)
def test_an_option_without_its_value_is_refused(command: Command, name: str) -> None:
    with pytest.raises(BadOptionUsage, match=f"Option '{name}' requires an argument."):
        command.make_context("attnbench", [name], **cli.context_settings)  # Click keeps its help


@pytest.mark.parametrize("line", NUMBERS, ids=" ".join)
@pytest.mark.parametrize("text", ["-1", "x", "nan", "inf"])
def test_a_number_that_means_nothing_is_refused_by_its_name(
    line: tuple[str, ...], text: str
) -> None:
    result = CliRunner().invoke(cli, [*line, text])
    assert result.exit_code == 2
    assert f"'{text}' is not a" in result.output
    assert "e.g." in result.output
    assert "Invalid value for '--" in result.output


def test_a_word_that_is_not_a_choice_is_refused_with_all_spellings() -> None:
    result = CliRunner().invoke(cli, ["attn", "--mode", "foo"])
    assert "'foo' is not one of cudagraph, eager, kernel, no_graph, no-graph" in result.output


@pytest.mark.parametrize("files", ["", "--output-csv a.csv --output-json b.json", "--save-csv"])
def test_a_resumed_command_asks_for_the_same_files_again(files: str) -> None:
    others = ["--rounds", "2", "--label", "mine", "--db", "own.db", "--wait"]
    assert request("prefill-trtllm", *others, *files.split()).files() == files.split()
