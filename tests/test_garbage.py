"""Python looks for garbage seldom while a command starts, and not at what it has imported."""

import gc
import subprocess
import sys

from attnbench.garbage import none_is_made

COUNTED = """
import gc
looks = []
gc.callbacks.append(lambda phase, _: looks.append(phase))
{}
import attnbench.commands.report
print(len(looks) // 2)
"""


def looks(first: str) -> int:
    """How often a fresh Python looks for garbage while it imports a command after `first`."""
    line = [sys.executable, "-c", COUNTED.format(first)]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_a_command_starts_with_few_looks() -> None:
    call = "import sys; sys.argv[1:] = ['--version']; from attnbench.cli import main\n"
    started = looks(call + "try: main()\nexcept SystemExit: pass")
    assert started < looks("") / 4


def test_looks_begin_again_after_modules_were_made_and_leave_those_out() -> None:
    frozen = gc.get_freeze_count()
    with none_is_made():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(10)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen + len(made)
