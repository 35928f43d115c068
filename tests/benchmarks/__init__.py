"""`make bench`: this project against its peers, in one run. `bench.py` is the command."""
