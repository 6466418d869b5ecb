"""Simulated clusters: the real protocol on virtual time, with faults on demand, a judge, and pictures."""

from .cluster import Cluster
from .errors import ScenarioError
from .link import Link
from .network import Network
from .node import Node
from .observer import Observer
from .queue import EventQueue
from .recording import Recording
from .runner import run_scenario
from .scenario import Scenario
from .scenario_file import load_scenario
from .topology import Topology

__all__ = [
    "Cluster",
    "EventQueue",
    "Link",
    "Network",
    "Node",
    "Observer",
    "Recording",
    "Scenario",
    "ScenarioError",
    "Topology",
    "load_scenario",
    "run_scenario",
]
