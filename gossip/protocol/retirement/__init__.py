"""How nodes and writers end, and how a node notices another one with its identity."""
