"""What backends that drive FlashInfer share: requests as it wants them, its wrappers, refusals."""
