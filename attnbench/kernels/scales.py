"""The scales of fp8 queries, keys and values: value = stored * scale.

Unequal, so that a mix-up is wrong, and powers of two, so that quantising what was dequantised
changes nothing. e4m3 keeps its precision from a hundredth to 448, so their size is free, within
limits: normal values must not saturate, and FlashInfer's fa3 masks scores by -5e4 before it
multiplies them by the scales, which for smaller ones no longer hides what a query must not see.
"""

QUERY_SCALE, KEY_SCALE, VALUE_SCALE = 2.0**-2, 2.0**-3, 2.0**-2
