"""Models shared: which there are, and how one is put onto the Hub."""
