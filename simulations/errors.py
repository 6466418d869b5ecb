"""What may be wrong with what a user asked a simulation to do."""


class SimulationError(Exception):
    """Base of everything raised on purpose here."""


class ScenarioError(SimulationError, ValueError):
    """A scenario, or a part of one, makes no sense; the message says which part, what it is, and what it may be."""


class MissingExtra(SimulationError, ImportError):
    """Something optional is not installed; the message says how to get it."""
