"""`python -m libresh.local`: the local cluster without the rest of the command line."""

from libresh.local import cli

if __name__ == "__main__":
    cli.main()
