"""Mutants: honest kernels with a planted fault, which the check must find."""
