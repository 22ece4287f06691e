"""Corpora of speech and of noise: what is in them, who speaks, and in which split."""
