"""The documentation is true where a machine can tell: links, commands, code, the CLI reference."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from attnbench._version import __version__
from attnbench.cli import cli
from attnbench.labels import Label
from attnbench.reporting.notes import LETTERS
from attnbench.specs.models import MLA_MODELS
from attnbench.studies.request import load_study
from scripts import cli_reference, examples, registry_tables
from tests import markdown
from tests.conftest import SMALL, Attnbench

ROOT = Path(__file__).parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pattern in ("*.md", "docs/**/*.md", ".github/**/*.md")
    for path in sorted(ROOT.glob(pattern))
}
COMMANDS = {
    " ".join([name, *words]): words
    for name, text in PAGES.items()
    for words in markdown.commands(text)
}
STUDY = next(iter(markdown.blocks(PAGES["docs/reference/studies.md"], "yaml")))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in markdown.links(PAGES[page]):
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in markdown.anchors(target.read_text(encoding="utf-8")), link


Parse = Callable[[list[str]], None]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Parse a command's words as attnbench does, in a folder with the files it names; run nothing.

    What `study` and `ab` hand on to a family's command is parsed by that command. A command that is
    only named, such as `attnbench db merge`, need not have its arguments.
    """
    reached: list[click.Context] = []
    monkeypatch.setattr(click.Command, "invoke", lambda self, ctx: reached.append(ctx))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "benchmarks" / "studies", tmp_path / "benchmarks" / "studies")

    def parse_words(words: list[str]) -> None:
        if is_name(words):
            return
        make_files(words)
        reached.clear()
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        if reached and (rest := handed_on(reached[-1])):
            parse_words(rest)

    return parse_words


def is_name(words: list[str]) -> bool:
    """Whether they are the name of a command and nothing else."""
    command: click.Command | None = cli
    for word in words:
        if not isinstance(command, click.Group):
            return False
        command = command.get_command(click.Context(command), word)
    return command is not None


def make_files(words: list[str]) -> None:
    """Whatever of the words looks like a file, in the working directory: pr/bin/python, x.json."""
    for word in words:
        path = Path(word)
        if re.fullmatch(r"[\w./-]+(/python|\.\w+)", word) and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STUDY)
            path.chmod(0o755)


def handed_on(ctx: click.Context) -> list[str]:
    """The words that a command leaves for a family's command to parse."""
    for parameter in ctx.command.params:
        if parameter.nargs == -1 and parameter.type is click.UNPROCESSED:
            words = list(ctx.params[parameter.name or ""])
            is_study = "study" in ctx.command_path
            return [studied_family(ctx), *words] if is_study else words
    return []


def studied_family(ctx: click.Context) -> str:
    """The family of a study by name, or of the model that serves a trace."""
    if (name := ctx.params.get("name")) is not None:
        return load_study(name).family
    return "mla" if ctx.params["model"] in MLA_MODELS else "attn"


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_of_the_docs_is_one_that_attnbench_takes(words: list[str], parse: Parse) -> None:
    parse(words)


def test_options_of_the_docs_exist() -> None:
    every = [each.command.params for each in cli_reference.contexts(cli, "attnbench")]
    known = {name for params in every for each in params for name in each.opts}
    of_vllm = {"--attention-backend", "--attention-config"}
    for page, text in PAGES.items():
        others = of_vllm if page.endswith("decision.md") else set[str]()
        assert markdown.options(text) <= known | {"--help"} | others, page


@pytest.mark.parametrize(
    "command",
    ["atn", "attn --no-such-option", "study numsplits --no-such-option", "ab -- attn --sinks 1"],
)
def test_a_command_that_attnbench_refuses_would_be_noticed(command: str, parse: Parse) -> None:
    with pytest.raises(AssertionError):
        parse(command.split())


def test_commands_are_found_wherever_code_stands() -> None:
    page = """
Inline `attnbench report --best`, broken `attnbench
doctor`, a file `attnbench.db`, a package `pip install attnbench`.

    attnbench attn --rounds 1 \\
        --dry-run            a remark
    sh -c "$(attnbench repro 12)"

```yaml
env:
  CASES: attn --rounds 5
run: attnbench $CASES --wait > out.txt
```
"""
    assert sorted(markdown.commands(page)) == [
        ["attn", "--rounds", "1", "--dry-run"],
        ["attn", "--rounds", "5", "--wait"],
        ["doctor"],
        ["report", "--best"],
        ["repro", "12"],
    ]


def test_the_command_line_reference_is_what_help_says() -> None:
    page = PAGES["docs/reference/cli.md"]
    assert page == cli_reference.reference(), "out of date; run: make docs"


HELP = [ctx.command_path.split()[1:] for ctx in cli_reference.contexts(cli, "attnbench")]


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_fits_a_terminal_of_eighty_columns(words: list[str]) -> None:
    shown = CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": "80"}).stdout
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_outputs_that_pages_show_are_what_the_commands_print() -> None:
    for path in examples.PAGES:
        page = PAGES[str(path.relative_to(ROOT))]
        assert page == examples.rewritten(page), "out of date; run: make docs"


def test_the_tables_of_the_registry_are_those_of_the_stored_survey() -> None:
    page = registry_tables.PAGE.read_text(encoding="utf-8")
    assert "| TRITON_MLA | driven |" in page
    assert page == registry_tables.rewritten(page), "out of date; run: make docs"


@pytest.mark.parametrize("example", markdown.blocks(PAGES["docs/reference/python.md"], "python"))
def test_python_examples_run(example: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", example],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"print\(.*# (\d.*)", example):
        assert line in done.stdout


def test_the_example_of_a_study_can_be_planned(attnbench: Attnbench, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(STUDY)
    done = attnbench("study", "mine.yaml", "--dry-run", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "cases can run on" in done.stdout


def test_the_example_of_a_backend_is_measured_like_any_other(
    attnbench: Attnbench, tmp_path: Path
) -> None:
    (example,) = markdown.blocks(PAGES["docs/reference/backends.md"], "python")
    (tmp_path / "attn").mkdir()
    (tmp_path / "attn" / "mine.py").write_text(example)
    words = ["attn", "--backend", "mine", "--batch-specs", "q8", "--rounds", "1", *SMALL]
    done = attnbench(*words, "--repeats", "3", ATTNBENCH_KERNELS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout


def test_every_command_of_a_block_is_parsed() -> None:
    for text in PAGES.values():
        for block in markdown.blocks(text, "yaml"):
            page = f"```yaml\n{block}```"
            assert len(list(markdown.commands(page))) == len(re.findall("attnbench [a-z$]", block))


def test_the_guide_explains_every_label() -> None:
    rows = {f"| `{each}` | {each.meaning} | {LETTERS[each]} |" for each in Label}
    assert rows <= set(PAGES["docs/guide/read-a-table.md"].splitlines())


def test_make_has_the_targets_that_the_docs_name() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    command = re.compile(r"(?:^ {4}|`)make ([\w-]+)", re.MULTILINE)
    named = {name for text in PAGES.values() for name in command.findall(text)}
    assert named >= {"bench", "test"}
    assert named <= targets


def test_the_release_is_the_same_everywhere() -> None:
    version, date = re.findall(r"^## (\d\S*) - (\S+)$", PAGES["CHANGELOG.md"], re.MULTILINE)[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version == __version__ == citation["version"]
    assert date == str(citation["date-released"])


def test_contributing_has_the_layout_there_is() -> None:
    listed = re.findall(r"^\| `attnbench/(\w+)`", PAGES["CONTRIBUTING.md"], re.MULTILINE)
    folders = [path.parent.name for path in ROOT.glob("attnbench/*/__init__.py")]
    assert sorted(listed) == sorted(folders)


def test_workflows_and_templates_are_yaml() -> None:
    files = [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) > 6
    assert all(yaml.safe_load(path.read_text()) for path in files)
