"""Descriptors: from atoms with moments to invariant features."""
