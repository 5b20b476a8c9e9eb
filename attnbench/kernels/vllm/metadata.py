"""CommonAttentionMetadata of a batch over page tables, as vLLM's model runner makes it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from attnbench.kernels.inputs import UNUSED_ENTRY, PageTables, page_tables
from attnbench.specs.batch import Batch

if TYPE_CHECKING:
    import torch
    from vllm.v1.attention.backend import CommonAttentionMetadata

NULL_PAGE = 0  # in vLLM it belongs to no request and fills block tables
NO_SLOT = -1  # of a token that is not written to the cache
WHOLE = 128  # tokens: rows of vLLM's block tables have room for multiples, as trtllm-gen needs


def layer_tables(
    batch: Batch, block_size: int, generator: "torch.Generator", page_order: str, least: int = 0
) -> PageTables:
    """The page tables of one layer's cache; every layer has its own cache and shares the tables.

    The cache has at least `least` pages.

    As in vLLM, page 0 belongs to no request, and unused entries of the table hold 0.
    """
    import torch

    made = page_tables(batch, block_size, 1, generator, page_order, least)
    unused = made.tables == UNUSED_ENTRY
    tables = (made.tables + 1).masked_fill(unused, NULL_PAGE)
    return PageTables(
        torch.as_tensor(tables),
        made.strangers + 1,
        made.num_pages + 1,
        made.pages_a_set,
        block_size,
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """The places of a batch's new tokens in the cache."""

    slots: "torch.Tensor"  # int64 [tokens], page * block size + offset
    pages: "torch.Tensor"  # int64 [tokens]
    offsets: "torch.Tensor"  # int64 [tokens], within the page


def new_tokens(batch: Batch, tables: PageTables, index: int = 0) -> Tokens:
    """The slots of the batch's new tokens in set `index`: the last q_len of each request."""
    import torch

    device = tables.tables.device
    lengths = torch.tensor([(r.q_len, r.kv_len) for r in batch], device=device)
    requests = torch.arange(len(batch), device=device).repeat_interleave(lengths[:, 0])
    first = lengths[:, 0].cumsum(0) - lengths[:, 0]
    within = torch.arange(batch.num_tokens, device=device) - first[requests]
    positions = (lengths[:, 1] - lengths[:, 0])[requests] + within
    pages = tables.tables[index][requests, positions // tables.block_size].long()
    offsets = positions % tables.block_size
    return Tokens(pages * tables.block_size + offsets, pages, offsets)


def common_metadata(
    batch: Batch,
    tables: PageTables,
    index: int = 0,
    *,
    room: int = 0,
    padding: int = 0,
    null_page: int = NULL_PAGE,
) -> "CommonAttentionMetadata":
    """The metadata that every builder starts from, without fields that this vLLM does not have.

    As in the model runner, rows of the block table have room for `room` tokens or somewhat more,
    since kernels look at entries behind the last page, and `padding` requests of length 0 bring one
    token each, which has no slot.
    """
    from torch.nn.functional import pad
    from vllm.v1.attention.backend import CommonAttentionMetadata

    device, no_tokens = tables.tables.device, [0] * padding
    columns = _width(tables, room) - tables.tables.shape[2]
    starts = _int32([0, *accumulate([*(r.q_len for r in batch), *no_tokens])])
    seq_lens = _int32([*(r.kv_len for r in batch), *no_tokens])
    computed = _int32([*(r.context_len for r in batch), *no_tokens])
    table = pad(tables.tables[index], (0, columns, 0, padding), value=null_page)
    candidates: dict[str, Any] = {
        "query_start_loc": starts.to(device),
        "query_start_loc_cpu": starts,
        "seq_lens": seq_lens.to(device),
        "_seq_lens_cpu": seq_lens,
        "seq_lens_cpu_upper_bound": seq_lens,
        "_num_computed_tokens_cpu": computed,
        "num_reqs": len(batch) + padding,
        "num_actual_tokens": batch.num_tokens + padding,
        "max_query_len": batch.max_q_len,
        "max_seq_len": batch.max_kv_len,
        "block_table_tensor": table,
        "slot_mapping": pad(new_tokens(batch, tables, index).slots, (0, padding), value=NO_SLOT),
        "causal": True,
    }
    known = {f.name for f in fields(CommonAttentionMetadata)}
    return CommonAttentionMetadata(**{n: v for n, v in candidates.items() if n in known})


def _width(tables: PageTables, room: int) -> int:
    """Pages in a row of the block table."""
    least = max(-(-room // tables.block_size), int(tables.tables.shape[2]))
    whole = max(1, WHOLE // tables.block_size)
    return -(-least // whole) * whole


def _int32(values: Sequence[int]) -> "torch.Tensor":
    import torch

    return torch.tensor(values, dtype=torch.int32)
