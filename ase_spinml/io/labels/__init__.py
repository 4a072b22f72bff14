"""Test of labels before training."""
