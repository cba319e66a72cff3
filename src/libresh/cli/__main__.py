"""`python -m libresh.cli`: the same as `libresh`."""

from libresh.cli.main import main

if __name__ == "__main__":
    main()
