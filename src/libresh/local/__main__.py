"""`python -m libresh.local`: the local cluster without the rest of the command line."""

from libresh.local.cli import main

if __name__ == "__main__":
    main()
