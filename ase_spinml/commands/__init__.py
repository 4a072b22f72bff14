"""The subcommands of ``ase-spinml``, one file for each; what they do is done elsewhere in the package."""
