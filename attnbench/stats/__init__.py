"""Statistics of samples and rounds, with NumPy and the standard library alone."""
