"""Studies of published traces on a GPU: python benchmarks/traffic_studies.py FOLDER --db FILE

`--traces TRACES` only writes their study files into FOLDER, where no GPU is needed. Otherwise the
GPU measures one study after the other while there is time, in one process, so that vLLM is imported
once: the backends of a model over 24 batches. After the first one the flash backend measures 240
batches of the same trace, whose weighted time should be that of 24 within 3 %. The last ones have
one round each before they have a second. `--study` and `--backend` measure some of them alone.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.families import FAMILIES
from attnbench.options.option import NamedOption, table
from attnbench.reporting.progress import outcome_line
from attnbench.running.dealer import measured
from attnbench.running.measuring import Measuring
from attnbench.running.open_run import OpenRun
from attnbench.running.process import WorkerProcess
from attnbench.running.request import command_of, plan_of
from attnbench.running.session import sessions
from attnbench.running.workers import Worker
from attnbench.studies.conclusion import Conclusion, conclude
from attnbench.studies.deck import study_deck
from attnbench.studies.from_trace import study_of_trace
from attnbench.studies.request import StudyRequest, load_study
from attnbench.traffic.options import TrafficOptions

BATCHES, CHECK, CLOSE = 24, 240, 0.03
CODE, CONV, MOONCAKE = "az_code.csv", "az_conv.csv", "mooncake_conversation_4000.jsonl"
RANKS = {"llama3-70b": 8, "deepseek-v3": 8, "llama3-8b": 1}
ATTN, MLA = "flash triton flashinfer auto", "flashmla flashattn_mla triton_mla auto"


class Study(NamedTuple):
    """A trace on a model, and the backends that are measured."""

    model: str
    trace: str
    backends: str
    batches: int = BATCHES

    @property
    def name(self) -> str:
        """Of its file."""
        number = f"-{self.batches}" if self.batches != BATCHES else ""
        return f"{Path(self.trace).stem}-{self.model}{number}"


# Those first that tell most. For SDPA cuDNN builds a plan for each length of a sequence, in 45 ms:
# for 140 to 200 lengths in a study of Azure's, 1200 to 1700 in one of Mooncake's.
STUDIES = [
    Study("llama3-70b", CODE, f"{ATTN} sdpa"),
    Study("llama3-70b", CODE, "flash", CHECK),
    Study("deepseek-v3", CODE, MLA),
    Study("llama3-70b", MOONCAKE, ATTN),
    Study("llama3-70b", CONV, ATTN),
    Study("llama3-8b", CODE, ATTN),
    Study("deepseek-v3", MOONCAKE, MLA),
    Study("deepseek-v3", CONV, MLA),
    Study("llama3-8b", CONV, ATTN),
    Study("llama3-8b", MOONCAKE, ATTN),
]
CHECKED, CHECKING = STUDIES[:2]
WHOLE = 5  # these have all rounds before another begins
FEW_SECONDS = 20.0  # a study is not begun with less time left


class Kept:
    """Starts of workers that give the one that lives; a run's end does not end it."""

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None

    def start(self, device: str) -> Worker:
        """The worker, or a fresh one if it ended or can take no other job."""
        if self._worker is None or not self._worker.healthy:
            self.end()
            self._worker = WorkerProcess.start(device)
        return cast(Worker, _Lent(self._worker))

    def end(self) -> None:
        """End it."""
        if self._worker is not None:
            self._worker.end()


class _Lent:
    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def end(self) -> None:
        """The next run goes on with it."""


def main() -> None:
    """Write the files, or measure them and print what each concludes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--db", default="traffic.db")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--study", nargs="+", choices=[each.name for each in STUDIES])
    parser.add_argument("--backend", nargs="+", help="instead of a study's own")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    studies = [each for each in STUDIES if not asked.study or each.name in asked.study]
    if asked.traces:
        for study in studies:
            write(study, asked.traces, asked.folder)
        return
    asked.end, asked.kept, asked.numbers = time.monotonic() + asked.seconds, Kept(), {}
    try:
        for study, rounds in turns(studies, asked.rounds):
            if asked.end - time.monotonic() > FEW_SECONDS:
                try:
                    measure(study, rounds, asked)
                except AttnbenchError as error:
                    say(f"{study.name}: {error}")
    finally:
        asked.kept.end()
    show(asked.db)


def turns(studies: list[Study], rounds: int) -> Iterator[tuple[Study, int]]:
    """Each study, with the rounds that it then should have."""
    yield from ((study, rounds) for study in studies[:WHOLE])
    for number in sorted({1, rounds}):
        yield from ((study, number) for study in studies[WHOLE:])


def write(study: Study, traces: Path, folder: Path) -> None:
    """The file of a study."""
    options = TrafficOptions(model=study.model, tp=RANKS[study.model], batches=study.batches)
    text = study_of_trace(traces / study.trace, options).text
    (folder / f"{study.name}.yaml").write_text(text)


def measure(study: Study, rounds: int, asked: argparse.Namespace) -> None:
    """One study, as `attnbench study FILE` does, until all its cases have these rounds."""
    file = load_study(str(asked.folder / f"{study.name}.yaml"))
    backends = tuple(asked.backend or study.backends.split())
    measuring = Measuring(
        db=asked.db,
        rounds=1 if study is CHECKING else asked.rounds,
        samples=asked.repeats,
        label=f"traffic {study.name}" + (f", {' and '.join(backends)}" if asked.backend else ""),
        device=(asked.device,),
        resume=asked.numbers.get(study),
    )
    named = {"backend": backends} | {
        field: getattr(measuring, field) for field in ("rounds", "samples")
    }
    options = table(FAMILIES[file.family].options) | table(Measuring)
    typed = {
        field: NamedOption(options[field], options[field].names[0], value)
        for field, value in named.items()
    }
    words = [word for each in typed.values() for word in (each.typed, *_words(each.value))]
    request = StudyRequest.of(file, typed, is_quick=False, is_exhaustive=False)
    line = ["attnbench", "study", f"{study.name}.yaml", *words]
    command = command_of(measuring, "study", line, request.stored(typed))
    plan_for = request.plan_for(lambda cases, machine: plan_of(measuring, cases, machine, say))
    begun = time.monotonic()
    with sessions(command, plan_for, say, asked.kept.start) as (run,):
        asked.numbers[study] = str(run.run)
        number = follow(run, rounds, asked.end)
    took = time.monotonic() - begun
    upto = min(rounds, measuring.rounds)
    say(f"{study.name}, run {run.run}: {number} outcomes in {took:.0f} s, up to round {upto}")


def _words(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, tuple) else [str(value)]


def follow(run: OpenRun, rounds: int, end: float) -> int:
    """Measure until the last case has these rounds, or time is over; returns the outcomes."""
    able = (at for at, case, _ in run.plan.order(rounds - 1) if case not in run.refused)
    last, number = max(able, default=0), 0
    for _, finished in measured([run], study_deck, say):
        print(outcome_line(finished), file=sys.stderr, flush=True)
        number += 1
        if time.monotonic() > end:
            say("no time is left")
            break
        if rounds < run.plan.rounds and finished.position >= last:
            break
    return number


def say(text: str) -> None:
    """At once, where another program reads it."""
    print(text, flush=True)


def show(db: str) -> None:
    """The sentences of each conclusion, and how far the checked sums are apart."""
    totals = {}
    with Store.open(db, create=False) as store:
        for run in store.runs():
            try:
                found = conclude(store, run.number)
            except AttnbenchError as error:
                say(f"run {run.number}: {error}")
                continue
            say("\n".join([f"\n{run.label}, {found.where}", *found.answer, *found.cells]))
            totals[found.study] = _flash(found)
    few, many = (totals.get(each.name) for each in (CHECKED, CHECKING))
    if few and many:
        verdict = "within" if abs(few / many - 1) <= CLOSE else "beyond"
        say(f"\n24 batches against 240: {100 * (few / many - 1):+.2f} %, {verdict} 3 %")


def _flash(found: Conclusion) -> float | None:
    """The flash backend's time of all steps."""
    spots = found.as_facts()["charts"][0]["series"].get("flash") if found.charts else None
    return spots[0][1] if spots else None


if __name__ == "__main__":
    main()
