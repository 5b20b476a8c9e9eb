"""`attnbench diff --format markdown`: a comment on a pull request."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.verdict import Comparison
from attnbench.reporting.interval_bar import interval_bars
from tests.markdown import unpadded
from tests.stored_diff import SIDES, add, diff, scaled, text_of
from tests.stored_results import attn, timed


@pytest.fixture
def db(tmp_path: Path) -> str:
    return str(tmp_path / "diff.db")


MARKDOWN = """\
### attnbench: 1 slower, 1 faster, 1 same (base to head)

1 of 3 cases slower, most of all sdpa 8q1kv1k by +30.0 %, -3.1 % in the geometric mean.

| verdict | case | base ms | head ms | change % | 95 % interval |
| --- | --- | ---: | ---: | ---: | --- |
| slower | sdpa 8q1kv1k | 1.00 | 1.30 | +30.0 | `··········│·······━●━` |

<details>
<summary>How it was judged</summary>

- 1 slower, 1 faster, 1 same; a change within 5 % does not matter
- geometric mean of the 3 cases with a time on both sides: -3.1 %
- finds: the smallest change that would have been found four times in five

</details>

<details>
<summary>Runs, their differences and noise</summary>

- base: run 1 "base", trunk@aaaaaaaaaaaa, <when>
- head: run 2 "head", trunk@aaaaaaaaaaaa, <when>
- source, software and machine are the same on both sides
- noise: a session moves one case by 0.7 % plus 87 % of its rounds' spread (sd on 4 degrees of \
freedom), all cases together by 0.2 %; from attnbench's own table of CPU

</details>

<details>
<summary>All 3 cases</summary>

**attn on Intel Xeon, 2 cores; timer cpu, cache cold; 3 and 3 rounds**

backend sdpa, dtype fp32, num_q_heads 32, num_kv_heads 8, head_dim 128

| verdict | spec | base ms | head ms | change % | 95 % interval % | finds % |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
| slower | 8q1kv1k | 1.00 | 1.30 | +30.0 | +26.1 to +34.1 | - |
| faster | q1k | 1.00 | 0.700 | -30.0 | -32.1 to -27.8 | - |
| same | q512 | 1.00 | 1.00 | +0.0 | -2.7 to +2.7 | 9.7 |

</details>
"""


def test_markdown_is_a_comment_that_shows_the_losers_and_folds_the_rest(db: str) -> None:
    add(db, "base", scaled([1, 1, 1]))
    add(db, "head", scaled([1, 1.3, 0.7]))
    assert unpadded(text_of(diff(db, *SIDES, "--format", "markdown"))) == MARKDOWN


def test_a_comment_shows_five_of_many_losers_with_changed_kernels_and_a_link(db: str) -> None:
    cases = [attn(f"{n}q1kv4k") for n in range(1, 81)]
    for label, factor, kernel in (("base", 1, "flash_fwd_v2"), ("head", 1.3, "flash_fwd_v3")):
        listed = scaled([factor] * 6 + [1] * 74, cases)
        add(db, label, {c: [replace(r, kernels=(kernel,)) for r in listed[c]] for c in cases})
    page = "https://ci.example.org/42/diff.html"
    text = diff(db, *SIDES, "--format", "markdown", "--page", page).stdout
    shown, _, folded = text.partition("<details>")
    assert shown.count("| slower") == 5
    assert "6 of 80 cases slower, most of all sdpa" in shown
    assert "- kernel changed: flash_fwd_v2 -> flash_fwd_v3: all 80 cases" in shown
    assert f"\n[The whole comparison]({page})\n" in shown
    assert folded.count("| slower") == 6


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--page", "ci.example.org/42"], "'ci.example.org/42' is not an address"),
        (["--page", "https://a.b/x) [y"], "is not an address"),
        (["--page", "https://a.b/x", "--format", "json"], "add --format markdown"),
    ],
)
def test_a_link_is_an_address_in_a_comment(db: str, words: list[str], error: str) -> None:
    add(db, "base", scaled([1, 1, 1]))
    form = [] if "--format" in words else ["--format", "markdown"]
    found = diff(db, "--base", "base", "--head", "base", *form, *words)
    assert (found.exit_code, error in " ".join(found.stderr.split())) == (2, True)


def test_bars_of_intervals_share_one_scale_around_no_change() -> None:
    found = [
        Comparison("a", "slower", 1.1, 1.05, 1.2, 0.0, 0.0, None, None, None, ""),
        None,
        Comparison("c", "faster", 1 / 1.1, 1 / 1.2, 1 / 1.05, 0.0, 0.0, None, None, None, ""),
        Comparison("d", "unclear", 1.0, None, None, 1.0, 1.0, None, None, None, ""),
    ]
    slower, missing, faster, no_interval = interval_bars(found)
    assert slower == faster[::-1] == "··········│··━━●━━━━━"
    assert (missing, no_interval) == ("", "")


def test_a_comment_of_many_cases_fits_what_github_takes(db: str) -> None:
    cases = [attn(f"{n}q1kv{k}k_4q16kv64k") for n in range(1, 41) for k in range(1, 31)]
    for label in ("base", "head"):
        add(db, label, {case: timed(case, 1e-3) for case in cases})
    text = diff(db, *SIDES, "--format", "markdown").stdout
    assert 50_000 < len(text) < 65_000
    assert "<summary>All 1200 cases</summary>" in text
    assert text.rstrip().endswith("left out, since a comment holds no more.\n\n</details>")


def test_a_label_is_no_markup_and_no_mention_in_a_comment(db: str) -> None:
    label = "<img src=x> @someone"
    add(db, "base", scaled([1, 1, 1]))
    add(db, label, scaled([1, 1, 1]))
    text = diff(db, "--base", "base", "--head", label, "--format", "markdown").stdout
    assert "<img" not in text
    assert "@someone" not in text
    assert "&lt;img src=x> &#64;someone" in text
