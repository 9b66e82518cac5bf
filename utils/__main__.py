"""python -m utils COMMAND: see `python -m utils --help`."""

import sys

from utils.course.commands import main

sys.exit(main())
