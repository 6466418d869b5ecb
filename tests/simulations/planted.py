"""Bugs that were made, by others or by us, planted into the protocol: the simulator must find each of them.

Each is a context manager that spoils one rule while it is open.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from crdts import Context, Delta, Event
from crdts.bounded import BoundedCounter
from crdts.delta import state_delta
from crdts.kernel import Kernel
from crdts.schema import type_tag
from gossip.protocol import members, session
from gossip.protocol.antientropy import AntiEntropy
from gossip.protocol.effects import Effect
from gossip.protocol.members import Members
from gossip.protocol.output import Output
from gossip.protocol.session import Session
from gossip.protocol.wire import Frame, StatePart, WholeContext
from simulations.disk import Disk

Plant = Callable[[], AbstractContextManager[Any]]

LWW_TAGS = {type_tag(obj) for obj in ()}
