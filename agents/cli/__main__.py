"""`python -m agents.cli`: the command `zerosearch`."""

import sys

from agents.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
