"""How a writer id passes from a node that keeps nothing to the next one."""
