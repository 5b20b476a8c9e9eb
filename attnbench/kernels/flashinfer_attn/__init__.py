"""Shared by the backends that drive FlashInfer's attention: refusals, index arrays, wrappers."""
