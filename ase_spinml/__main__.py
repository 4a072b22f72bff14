"""``python -m ase_spinml`` is the command ``ase-spinml``."""

import sys

from ase_spinml.cli import main

sys.exit(main())
