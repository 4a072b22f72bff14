"""Exchange parameters of other codes."""
