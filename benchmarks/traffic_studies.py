"""Studies of published traces on GPUs: python benchmarks/traffic_studies.py FOLDER --db FILE

`--traces TRACES` only writes their study files into FOLDER, where no GPU is needed. Then each GPU
measures one study after the other while there is time: all backends of a model over 24 batches. The
GPU of the first one also measures the flash backend over 240 batches of the same trace, whose
weighted time should be that of 24 within 3 %. A study begins with a start of vLLM, 10 to 25 s.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.provenance.machine import gpus_seen_by_nvml
from attnbench.studies.conclusion import Conclusion, conclude
from attnbench.studies.from_trace import study_of_trace
from attnbench.traffic.options import TrafficOptions

BATCHES, CHECK, CLOSE = 24, 240, 0.03
CODE, CONV, MOONCAKE = "az_code.csv", "az_conv.csv", "mooncake_conversation_4000.jsonl"
RANKS = {"llama3-70b": 8, "deepseek-v3": 8, "llama3-8b": 1}
ATTN, MLA = "flash triton flashinfer", "flashmla flashattn_mla triton_mla auto"


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


# Those first that tell most. SDPA takes a second and more to prepare each shape.
STUDIES = [
    Study("llama3-70b", CODE, f"{ATTN} sdpa auto"),
    Study("deepseek-v3", CODE, MLA),
    Study("llama3-70b", MOONCAKE, f"{ATTN} auto"),
    Study("deepseek-v3", MOONCAKE, MLA),
    *(Study("llama3-8b", trace, f"{ATTN} auto") for trace in (CODE, CONV, MOONCAKE)),
    Study("llama3-70b", CONV, f"{ATTN} sdpa auto"),
    Study("deepseek-v3", CONV, MLA),
]
CHECKED, CHECKING = STUDIES[0], STUDIES[0]._replace(backends="flash", batches=CHECK)
FEW_SECONDS = 45.0  # a study is not begun with less time left


def main() -> None:
    """Write the files, or measure them and print what each concludes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--db", default="traffic.db")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cards", type=int, default=len(gpus_seen_by_nvml()) or 1)
    parser.add_argument("--options", default="--repeats 10", help="for attnbench study")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.traces:
        for study in (*STUDIES, CHECKING):
            write(study, asked.traces, asked.folder)
        return
    with Store.open(asked.db):
        pass  # two commands that create it at once would meet
    asked.end = time.monotonic() + asked.seconds
    left: SimpleQueue[Study] = SimpleQueue()
    for study in STUDIES:
        left.put(study)
    with ThreadPoolExecutor(asked.cards) as pool:
        for each in [pool.submit(measure_all, card, left, asked) for card in range(asked.cards)]:
            each.result()
    show(asked.db)


def write(study: Study, traces: Path, folder: Path) -> None:
    """The file of a study."""
    options = TrafficOptions(model=study.model, tp=RANKS[study.model], batches=study.batches)
    text = study_of_trace(traces / study.trace, options).text
    (folder / f"{study.name}.yaml").write_text(text)


def measure_all(card: int, left: "SimpleQueue[Study]", asked: argparse.Namespace) -> None:
    """On one card, studies that no card has begun, while there is time."""
    while asked.end - time.monotonic() > FEW_SECONDS:
        try:
            study = left.get_nowait()
        except Empty:
            return
        measure(study, card, asked)
        if study is CHECKED and asked.end - time.monotonic() > FEW_SECONDS:
            measure(CHECKING, card, asked)


def measure(study: Study, card: int, asked: argparse.Namespace) -> None:
    """One study; its rounds are kept if time runs out."""
    rounds = 1 if study is CHECKING else asked.rounds
    name, begun = study.name, time.monotonic()
    path = asked.folder / f"{name}.yaml"
    command = [sys.executable, "-m", "attnbench", "study", str(path), "--db", asked.db]
    command += ["--label", f"traffic {name}", "--rounds", str(rounds)]
    command += ["--backend", *study.backends.split(), *asked.options.split()]
    with (
        Path(asked.db).with_name(f"{name}.log").open("w") as log,
        subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": str(card)},
        ) as process,
    ):
        try:
            process.wait(asked.end - begun)
        except subprocess.TimeoutExpired:
            process.send_signal(2)  # as Ctrl-C
    took = time.monotonic() - begun
    print(f"card {card}: {name}: status {process.returncode}, {took:.0f} s", flush=True)


def show(db: str) -> None:
    """The sentences of each conclusion, and how far the checked sums are apart."""
    totals = {}
    with Store.open(db, create=False) as store:
        for run in store.runs():
            try:
                found = conclude(store, run.number)
            except AttnbenchError as error:
                print(f"run {run.number}: {error}")
                continue
            print(f"\n{run.label}, {found.where}", *found.answer, *found.cells, sep="\n")
            totals[found.study] = _flash(found)
    few, many = (totals.get(each.name) for each in (CHECKED, CHECKING))
    if few and many:
        verdict = "within" if abs(few / many - 1) <= CLOSE else "beyond"
        print(f"\n24 batches against 240: {100 * (few / many - 1):+.2f} %, {verdict} 3 %")


def _flash(found: Conclusion) -> float | None:
    """The flash backend's time of all steps."""
    spots = found.as_facts()["charts"][0]["series"].get("flash") if found.charts else None
    return spots[0][1] if spots else None


if __name__ == "__main__":
    main()
