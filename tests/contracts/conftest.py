"""The contracts with vLLM: run by `make contracts VLLM=x.y.z`, skipped where vLLM is missing."""

from importlib.util import find_spec

import pytest

# Where vLLM can be imported without a driver: in the environment that `make contracts` builds.
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

if find_spec("vllm"):
    from attnbench.kernels.vllm.mla_prepared import VllmMlaPrepared
    from attnbench.kernels.vllm.startup import prepare_environment
    from tests.contracts.faked_device import GENERATION, GPU, fake_gpu
    from tests.contracts.no_kernels import NoKernels, leave_out_kernels

    prepare_environment()
    fake_gpu(GPU)
    LEFT_OUT = leave_out_kernels(GPU)

    def launch_up_to_kernels(ready: VllmMlaPrepared) -> None:
        LEFT_OUT.launch(ready.calls)

    VllmMlaPrepared._first_pass = launch_up_to_kernels  # type: ignore[assignment,method-assign]

    # The others state what Hopper does.
    if GENERATION != "SM90":
        collect_ignore_glob = ["test_[!r]*.py"]

    @pytest.fixture
    def left_out() -> NoKernels:
        """What stands in for kernels in this process."""
        return LEFT_OUT
