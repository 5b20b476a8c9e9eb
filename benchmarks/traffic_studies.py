"""Studies of published traces on a GPU: python benchmarks/traffic_studies.py FOLDER --db FILE

`--traces TRACES` only writes their study files into FOLDER, where no GPU is needed. Then each is
measured while there is time, all backends of a model in one run, and last the flash backend over 24
and 240 batches of one trace, whose weighted times should agree within 3 %. A start of vLLM takes 10
to 25 s a study.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from attnbench.db.store import Store
from attnbench.errors import AttnbenchError
from attnbench.studies.conclusion import conclude
from attnbench.studies.from_trace import study_of_trace
from attnbench.traffic.options import TrafficOptions

MODELS = {"llama3-70b": 8, "deepseek-v3": 8, "llama3-8b": 1}
ATTN, MLA = "flash triton flashinfer sdpa auto", "flashmla flashattn_mla triton_mla auto"
CHECKED = (24, 240)
BATCHES, CLOSE = 12, 0.03
FEW_SECONDS = 30.0  # a study is not begun with less time left


def main() -> None:
    """Write the files, or measure them and print what each concludes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--db", default="traffic.db")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--options", default="--repeats 10", help="for attnbench study")
    options = parser.parse_args()
    if options.traces:
        write(options.traces, options.folder)
        return
    end = time.monotonic() + options.seconds
    for path in sorted(options.folder.glob("*.yaml")):
        if (left := end - time.monotonic()) > FEW_SECONDS:
            measure(path, options.db, left, options.options.split())
    show(options.db)


def write(traces: Path, folder: Path) -> None:
    """A study file for each model and trace, and the two to check, in the order of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = sorted(traces.glob("*.[cj]s*"))
    for at, (model, tp) in enumerate(MODELS.items()):
        for trace in listed:
            study = study_of_trace(trace, TrafficOptions(model=model, tp=tp, batches=BATCHES))
            (folder / f"{at}-{model}-{trace.stem}.yaml").write_text(study.text)
    for count in CHECKED:
        study = study_of_trace(listed[0], TrafficOptions(model="llama3-70b", tp=8, batches=count))
        (folder / f"check-{count}.yaml").write_text(study.text)


def measure(path: Path, db: str, seconds: float, options: list[str]) -> None:
    """One study; its rounds are kept if time runs out."""
    is_check = path.stem.startswith("check")
    backends = "flash" if is_check else MLA if "deepseek" in path.stem else ATTN
    rounds = "1" if is_check else "3"
    command = [sys.executable, "-m", "attnbench", "study", str(path), "--db", db]
    asked = ["--label", path.stem, "--rounds", rounds, "--backend", *backends.split(), *options]
    with subprocess.Popen([*command, *asked], stdout=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(2)  # as Ctrl-C


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
            if found.study.startswith("check") and found.charts:
                totals[found.study] = found.as_facts()["charts"][0]["series"]["flash"][0][1]
    if len(totals) == len(CHECKED):
        few, many = (totals[f"check-{count}"] for count in CHECKED)
        verdict = "within" if abs(few / many - 1) <= CLOSE else "beyond"
        print(f"\n24 batches against 240: {100 * (few / many - 1):+.2f} %, {verdict} 3 %")


if __name__ == "__main__":
    main()
