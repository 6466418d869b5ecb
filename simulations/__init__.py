"""Simulated clusters: the real protocol on virtual time, with faults on demand, a judge, and pictures."""

from .campaign.runner import run_scenario
from .errors import ScenarioError
from .report.recording import Recording
from .scenario.file import load_scenario
from .scenario.scenario import Scenario
from .world.cluster import Cluster
from .world.link import Link
from .world.network import Network
from .world.node import Node
from .world.observer import Observer
from .world.queue import EventQueue
from .world.topology import Topology

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
