"""Energy landscapes of magnets: minima, saddles, paths between states."""
