"""How long a site takes: python benchmarks/site.py

Fills a database with 1000 runs of 100 cases of 3 rounds, each of a commit of its own, and times a
first build, one with nothing new, and one after a further run. Needs no GPU.
"""

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from million import copy, fill, start

from attnbench.db.store import Store
from attnbench.records import RunStatus
from attnbench.site.build import Built, build_site

RUNS, CASES = 1000, 100
GOAL = 60.0  # seconds of the first build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--cases", type=int, default=CASES)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path, site = Path(folder, "site.db"), Path(folder, "site")
        fill(path, asked.runs, asked.cases)
        found = [timed("first build", path, site), timed("nothing new", path, site)]
        with Store.open(path) as store:
            run = start(store, asked.runs, asked.runs + 1)
            copy(store, 1, run)
            store.finish_run(run, RunStatus.FINISHED)
        found.append(timed("one more run", path, site))
    print(json.dumps(found, indent=1))


def timed(name: str, path: Path, site: Path) -> dict[str, object]:
    """Wall and CPU seconds of a build, with the load of the machine beside them."""
    wall, cpu = time.perf_counter(), time.process_time()
    with Store.open(path) as store:
        built: Built = build_site(store, site, 0.01, None)
    return {
        "build": name,
        "seconds": round(time.perf_counter() - wall, 1),
        "CPU seconds": round(time.process_time() - cpu, 1),
        "load": round(os.getloadavg()[0], 1),
        "computed": built.computed,
        "written": built.written,
    }


if __name__ == "__main__":
    main()
