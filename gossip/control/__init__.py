"""The control socket of a running node, and the document that people read."""
