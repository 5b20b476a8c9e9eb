"""A decoder layer's other matrix products: the work between two attention calls of a server."""

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


def layer_bytes(case: Case) -> int:
    """Bytes of the weights, inputs and outputs of the products for the batch's new tokens."""
    rows = case.batch.num_tokens
    elements = sum(
        inputs * outputs + rows * (inputs + outputs)
        for inputs, outputs in layer_products(case.shape)
    )
    return ELEMENT_BYTES[case.dtype] * elements
