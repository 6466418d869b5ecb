"""Simulated clusters: the real protocol on virtual time, with faults on demand."""

from .cluster import Cluster
from .link import Link
from .network import Network
from .node import Node
from .queue import EventQueue
from .topology import Topology

__all__ = ["Cluster", "EventQueue", "Link", "Network", "Node", "Topology"]
