"""The contracts with vLLM: run by `make contracts VLLM=x.y.z`, skipped where vLLM is missing."""

from importlib.util import find_spec

# Where vLLM can be imported without a driver: in the environment that `make contracts` builds.
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

if find_spec("vllm"):
    from attnbench.kernels.vllm.startup import prepare_environment
    from tests.contracts.faked_device import fake_hopper

    prepare_environment()
    fake_hopper()
