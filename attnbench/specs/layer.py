"""A decoder layer's other matrix products: the work between two attention calls of a server."""

from math import prod

from attnbench.specs.case import Case
from attnbench.specs.cost import ELEMENT_BYTES
from attnbench.specs.shape import MlaShape, Shape

# Widths of Llama-3-8B, for any number of heads; and of DeepSeek-V3's compressed queries. All
# weights together are several times as large as the L2 of any GPU.
HIDDEN, MLP, Q_LORA = 4096, 14336, 1536


def layer_products(shape: Shape) -> tuple[tuple[int, int], ...]:
    """Inputs and outputs of each product, from the end of one attention call to the next."""
    if isinstance(shape, MlaShape):
        output = shape.num_q_heads * shape.v_head_dim
        queries = shape.num_q_heads * shape.qk_head_dim
        inward = [(HIDDEN, Q_LORA + shape.latent_dim), (Q_LORA, queries)]
    else:
        output = shape.num_q_heads * shape.head_dim
        inward = [(HIDDEN, output + 2 * shape.num_kv_heads * shape.head_dim)]
    return (output, HIDDEN), (HIDDEN, 2 * MLP), (MLP, HIDDEN), *inward


def w_uk_product(case: Case) -> tuple[tuple[int, int, int], ...]:
    """Sizes of queries, W_UK and result of the product that absorbs a decode's queries in MLA.

    It comes last before the call. Empty where it is in the call, or a server has none.
    """
    shape, rows = case.shape, case.batch.num_tokens
    if not isinstance(shape, MlaShape) or case.scope != "kernel":
        return ()
    if not all(request.is_decode for request in case.batch):
        return ()
    heads, inputs, outputs = shape.num_q_heads, shape.qk_nope_head_dim, shape.kv_lora_rank
    return (heads, rows, inputs), (heads, inputs, outputs), (heads, rows, outputs)


def layer_bytes(case: Case) -> int:
    """Bytes of the weights, inputs and outputs of the products for the batch's new tokens."""
    rows = case.batch.num_tokens
    elements = sum(
        inputs * outputs + rows * (inputs + outputs)
        for inputs, outputs in layer_products(case.shape)
    )
    return ELEMENT_BYTES[case.dtype] * (elements + sum(map(prod, w_uk_product(case))))
