"""What a run is to be: nodes, links, faults and writes, from a file or from code."""
