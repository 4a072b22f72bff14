"""Spin and spin-lattice dynamics."""
