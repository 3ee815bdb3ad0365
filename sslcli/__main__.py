"""Run the command line as `python -m sslcli`."""

from sslcli.cli.app import main

if __name__ == "__main__":
    main()
