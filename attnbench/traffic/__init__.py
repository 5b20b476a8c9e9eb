"""From traces of requests to a few batches that stand for all steps of a server."""
