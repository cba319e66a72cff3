"""Measurements of libre.sh, each beside a baseline in the same run. `python -m bench --help`."""
