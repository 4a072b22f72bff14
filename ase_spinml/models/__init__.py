"""Models: from features to energies."""
