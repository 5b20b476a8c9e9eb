"""Student's t distribution with real degrees of freedom `df` > 0; df = inf is the normal.

SciPy loads on the first call: `--help` need not wait 0.1 s for it.
"""

import math


def sf(t: float, df: float) -> float:
    """P(T > t), accurate far into the tail.

    Raises ValueError unless df > 0 and t is a number.
    """
    from scipy import special

    if not df > 0 or math.isnan(t):
        raise ValueError(f"expected df above 0 and a number t, got df={df}, t={t}")
    return float(special.stdtr(df, -t))


def quantile(p: float, df: float) -> float:
    """The t at which P(T <= t) = p.

    Raises ValueError unless df > 0 and 0 < p < 1.
    """
    from scipy import special

    if not (0 < p < 1 and df > 0):
        raise ValueError(f"expected a probability between 0 and 1 and df above 0, got {p}, {df}")
    return float(special.stdtrit(df, p))
