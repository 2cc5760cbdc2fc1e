"""A whole cluster in one thread, in virtual time, from a seed: real core, toy shells, bad luck.

    python -m bacalhau.testing.sim --seeds 2000

Orchestrator and nodes decide with the very functions of bacalhau.core; their shells are a
few lines each and keep the same promises as the real ones (journal before act, repeat until
acknowledged). The same seed gives the same log, so every failure can be played again.
"""

from bacalhau.testing.sim.faults import Faults
from bacalhau.testing.sim.world import Broken, World

__all__ = ["Broken", "Faults", "World"]
