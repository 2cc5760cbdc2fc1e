"""`python -m bacalhau`: the command line."""

import sys

from bacalhau.cli import main

sys.exit(main())
