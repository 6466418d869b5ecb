"""How nodes find each other: neighbours on the local network, and seeds."""
