"""Run the command line as `python -m sslcli`."""

import os
import sys

if __name__ == "__main__":
    # -m looks for modules in the current folder first, where a random.py would hide Python's own.
    if sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]
    from sslcli.cli.app import main

    main()
