"""The kernels under test: the contract of a backend, inputs, correctness check, backends."""
