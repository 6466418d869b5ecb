"""`python -m gossip` is the command line `gossip`."""

from .cli import main

main()
