"""A model folder as a separator of recordings (no PyTorch)."""
