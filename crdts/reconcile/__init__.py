"""Finds out what differs between two replicas by fingerprints of ranges, and exchanges just that."""
