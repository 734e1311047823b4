"""The snippet of docs/verifying.md, as it stands: `verify` of snippet.py in the folder that is named."""

import os
import sys

from verdict import judge

sys.path.insert(0, sys.argv[1])
from snippet import verify  # noqa: E402

judge(lambda token: verify(token, os.environ["SCOPE"]))
