"""Separation networks: a front end, a block and a design, joined (PyTorch)."""
