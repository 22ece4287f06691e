"""Sets of mixtures as files: simulated, replayed from lists, read in the layouts of the field, shown on a page."""
