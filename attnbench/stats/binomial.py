"""The rate of hits among independent trials."""


def upper_bound(hits: int, trials: int, confidence: float = 0.95) -> float:
    """The one-sided upper confidence bound of the rate; 1 if no trial missed.

    Clopper and Pearson's exact bound (1934, Biometrika 26:404). Raises ValueError unless
    0 <= hits <= trials and 0 < confidence < 1.
    """
    from scipy import special

    if not (0 <= hits <= trials and 0 < confidence < 1):
        raise ValueError(f"expected 0 <= hits <= trials, got {hits} of {trials} at {confidence}")
    return 1.0 if hits == trials else float(special.bdtri(hits, trials, 1 - confidence))


def upper_tail(hits: int, trials: int, rate: float) -> float:
    """The chance of so many hits or more."""
    from scipy import special

    return 1.0 if hits <= 0 else float(special.bdtrc(hits - 1, trials, rate))
