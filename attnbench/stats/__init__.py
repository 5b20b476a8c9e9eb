"""Statistics of samples and rounds, with only NumPy and scipy.special."""
