"""The worker process: the only one that imports torch and uses the device.

Started with FD PARENT DEVICE: its end of a socket, and the process that it answers.
"""

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from attnbench.errors import AttnbenchError
from attnbench.garbage import none_is_made
from attnbench.kernels.mutants.sample import sampled
from attnbench.kernels.registry import find
from attnbench.provenance.environment import read_environment
from attnbench.provenance.machine import Machine, read_machine
from attnbench.provenance.source import editable_source
from attnbench.running.channel import Channel, ChannelClosed
from attnbench.running.device import resolve_device
from attnbench.running.execute import execute
from attnbench.running.frame_stack import with_room
from attnbench.running.left_behind import process_state
from attnbench.running.messages import (
    Declined,
    Done,
    Hello,
    Job,
    MeasureSentinels,
    Phase,
    Planted,
    PlantFaults,
    Probe,
    Refusals,
)
from attnbench.running.refusals import refusals
from attnbench.timing.guard import GpuGuard, Look, unseen
from attnbench.timing.sentinels import measure_sentinels

PR_SET_PDEATHSIG = 1


def main(words: Sequence[str]) -> None:
    """Say hello, then serve probes and jobs until the other end closes."""
    fd, parent, device = words
    _end_with(int(parent))
    with_room(lambda: _serve(int(fd), device))


def _serve(fd: int, device: str) -> None:
    # Read by torch on import: no messages about CUPTI's start and stop.
    os.environ.setdefault("KINETO_LOG_LEVEL", "4")
    _require_torch()
    connection = Channel(socket.socket(fileno=fd))
    try:
        machine = read_machine(resolve_device(device))
    except AttnbenchError as error:
        connection.send(Declined(str(error)))
        return
    connection.send(Hello(machine, read_environment(), editable_source()))
    look: Look = unseen
    if machine.kind == "cuda":
        _reset_persisting_l2()
        look = GpuGuard(machine.gpu_uuid).look
    while True:
        try:
            message = connection.receive()
        except ChannelClosed:
            return
        if isinstance(message, Probe):
            with none_is_made():  # the backends import their libraries
                found = refusals(message.cases, machine)
            connection.send(Refusals(found))
        elif isinstance(message, MeasureSentinels):
            connection.send(measure_sentinels(machine.device).as_facts())
        elif isinstance(message, PlantFaults):
            connection.send(Planted(tuple(sampled(machine))))
        elif isinstance(message, Job):
            connection.send(_done(message, machine, look, connection))


def _done(job: Job, machine: Machine, look: Look, connection: Channel) -> Done:
    """The job's outcome; a worker in which it left something behind takes no other job."""
    before = _state(job)
    outcome = execute(job, machine, look, lambda name: connection.send(Phase(name)))
    return Done(outcome, _healthy(machine) and _state(job) == before)


def _state(job: Job) -> Mapping[str, object]:
    try:
        return process_state(find(job.case.family, job.case.backend))
    except AttnbenchError:  # its file is gone since the plan was made
        return {}


def _require_torch() -> None:
    try:
        with none_is_made():
            import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        sys.exit(
            f"attnbench measures with torch, which {sys.executable} does not have; install it "
            "with pip install 'attnbench[cpu]', or 'attnbench[gpu]' for vLLM and FlashInfer too"
        )


def _healthy(machine: Machine) -> bool:
    """Free the job's memory; a CUDA context that an error has broken fails here."""
    if machine.kind == "cpu":
        return True
    import torch

    try:
        torch.cuda.synchronize(machine.device)
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True


def _reset_persisting_l2() -> None:
    """Lines pinned in L2 would survive every flush (llm.c's issue 851)."""
    import torch

    torch.cuda.synchronize()  # creates the context for the call below
    ctypes.CDLL("libcuda.so.1").cuCtxResetPersistingL2Cache()


def _end_with(parent: int) -> None:
    """Ignore Ctrl-C, which the parent handles; die with it; go first when memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # /proc may be read-only in a container
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        sys.exit("the command that started this worker is gone")
