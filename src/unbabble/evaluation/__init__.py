"""How well a model separates, measured on mixtures whose truths are known."""
