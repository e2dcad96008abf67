"""python -m etpick.cli"""

import sys

from etpick.cli import main

if __name__ == "__main__":
    sys.exit(main())
