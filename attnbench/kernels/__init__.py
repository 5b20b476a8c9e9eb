"""What is measured: the contract of a backend, its inputs, its check, and the backends."""
