"""A study of a trace's traffic, without a file."""

from dataclasses import asdict
from pathlib import Path

from attnbench.families import FAMILIES
from attnbench.options.option import words
from attnbench.studies.file import Study, read_study
from attnbench.traffic.options import TrafficOptions
from attnbench.traffic.study_file import study_yaml
from attnbench.traffic.summary import summarize


def study_of_trace(trace: Path, asked: TrafficOptions) -> Study:
    """The study that `attnbench traffic --study` would write; UsageError as `summarize`."""
    text = study_yaml(summarize(trace, asked))
    return read_study(text, f"traffic-{trace.stem}-{asked.model}", "traffic.yaml", FAMILIES)


def words_of_trace(trace: Path, asked: TrafficOptions) -> list[str]:
    """The words after `attnbench study` that ask for the same study."""
    usual = asdict(TrafficOptions())
    changed = {name: value for name, value in asdict(asked).items() if value != usual[name]}
    return ["traffic", "--trace", str(trace), *words(TrafficOptions, changed)]
