"""VASP in and out."""
