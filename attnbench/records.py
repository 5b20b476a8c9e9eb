"""Outcomes as the worker reports them, and measurements and runs as the database keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from attnbench.specs.case import Case, Value

CacheState = Literal["", "cold", "mixed", "hot", "unknown"]
Rates = Mapping[str, float | None]  # of a device, by the fields of `Sentinels`


class Status(StrEnum):
    """The outcome of a case in a round; all except ok have a reason."""

    OK = "ok"
    REFUSED = "refused"  # cannot run here; the reason says why
    INCORRECT = "incorrect"  # ran, with a wrong result: never a time
    OOM = "out-of-memory"
    TIMEOUT = "timeout"
    CRASHED = "crashed"  # the worker died
    ERROR = "error"  # the backend raised


SELECTED = "selected"  # the resolved setting of `auto` that names the backend vLLM takes
# Its value: a server joins the parts of MLA's queries in its call, this row has them in one part.
OUTSIDE, QUERY_JOIN = "outside", "query_join"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one fresh preparation of a case. Seconds, bytes and FLOP per call."""

    status: Status
    reason: str = ""  # a sentence, empty when ok
    samples: tuple[float, ...] = ()  # seconds per call, in the order taken
    calls_per_sample: int = 0
    sets: int = 0  # working sets the calls rotated over
    cache_state: CacheState = ""  # as reached
    touched_bytes: int = 0  # read and written by one call
    flops: float = 0.0  # useful FLOP of one call
    bytes: float = 0.0  # useful bytes of one call
    decode_requests: int = 0  # on the decode path
    decode_tokens: int = 0
    prefill_requests: int = 0
    prefill_tokens: int = 0
    resolved: Mapping[str, Value] = field(default_factory=dict)  # settings that ran
    labels: tuple[str, ...] = ()  # caveats of these samples
    errors: Mapping[str, float] = field(default_factory=dict)  # against the fp32 reference
    durations: Mapping[str, float] = field(default_factory=dict)  # prepare, check, warmup, time
    warmup_calls: int = 0
    peak_memory: int | None = None  # bytes a call allocates besides inputs and outputs
    footprint_ratio: float | None = None  # bytes touched by all sets over the last-level cache
    guard: Mapping[str, float] = field(default_factory=dict)  # clocks, power, heat around sampling
    kernels: tuple[str, ...] = ()  # names of one call's GPU kernels, if asked for
    kernel_seconds: float | None = None  # of those kernels together, without the gaps between them
    enqueue_seconds: float | None = None  # of the host, to launch one call
    plan_seconds: float | None = None  # to plan or build metadata for a call


@dataclass(frozen=True, slots=True)
class Measurement:
    """A stored outcome and its identity, without its samples, which stay in the database."""

    id: int
    uuid: str
    run: int  # the run's number in this database
    case: Case
    case_key: str
    workload_key: str
    method: Mapping[str, Value]
    method_key: str
    machine_key: str
    machine_model: str  # hash that cards of one model share
    machine_name: str
    round: int
    position: int  # order within the run, for pairing interleaved rounds
    outcome: Outcome
    median: float | None  # seconds per call; None unless ok
    low: float | None  # 95 % interval of the median
    high: float | None
    num_samples: int
    device: str = ""  # of the card that measured it: cuda:0, cpu
    gpu_uuid: str | None = None
    hostname: str = ""

    @property
    def status(self) -> Status:
        """The outcome's status."""
        return self.outcome.status


class RunStatus(StrEnum):
    """The state of a run; a killed one stays running."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Run:
    """A stored run without its plan, which can be large."""

    number: int
    uuid: str
    command: str
    argv: tuple[str, ...]
    label: str | None
    status: RunStatus
    started: datetime  # UTC
    finished: datetime | None  # None while it is running, and after it was killed
    options: Mapping[str, object]
    machine_key: str
    machine_model: str  # hash that cards of one model share
    machine_name: str
    branch: str | None
    commit: str | None
    machine: Mapping[str, object]  # facts that Machine.from_facts reads
    environment: Mapping[str, object]  # facts that Environment.from_facts reads
    source: Mapping[str, object]  # the fields of Source
    counts: Mapping[Status, int]  # outcomes by status, without zeros


@dataclass(frozen=True, slots=True)
class Transfer:
    """The records copied from one database to another."""

    numbers: Mapping[int, int]  # of each run: its number in the origin to that in the target
    runs: int  # that were new
    measurements: int
    samples: int  # measurements whose samples came
    noise: int = 0  # records of stored noise
    replaced: int = 0  # measurements of the target, by others of the same rounds
    left_out: int = 0  # measurements whose rounds have others in the target
