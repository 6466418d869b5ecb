"""Simulated clusters: the real protocol on virtual time, with faults on demand."""

from .cluster import Cluster, Node
from .network import Link, Network
from .queue import EventQueue

__all__ = ["Cluster", "EventQueue", "Link", "Network", "Node"]
