"""Frames of other codes."""
