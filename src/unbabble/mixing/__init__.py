"""Simulated mixtures: who says what, in which room, how loud, and how much at the same time."""
