"""Statistics of samples and rounds, with NumPy and scipy.special alone."""
