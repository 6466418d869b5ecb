"""`python -m simulations` is the command line `gossip sim`."""

from gossip.cli.launch import launch

from .cli import sim

if __name__ == "__main__":  # a worker process of a sweep imports this as well
    launch(sim, "python -m simulations")
