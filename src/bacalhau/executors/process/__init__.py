"""The engine `process`: a program of the node, in a sandbox of bubblewrap.

executor.py     the loops: start, follow, watch, stop, release
admit.py        what this node refuses, and why
launch.py       the start of a run, in its sandbox or bare
stage.py        how a node that is root starts programs that are not
ending.py       ways to end what runs
run.py          a run in memory, and whether it takes more than it may
disk.py         what it has written
params.py       what a job may write
command.py      which program of the node that is, and what it needs to see
sandbox.py      from work to the arguments of bubblewrap
seccomp.py      system calls that no task needs
limits.py       cgroup v2 or v1, else rlimits
host.py         what this node has of all that
status.py       how a run is found again after a crash
spawn.py        one child, with exactly the descriptors it should have
outcome.py      how it ended, and why
"""

from bacalhau.executors.process.executor import ProcessExecutor

__all__ = ["ProcessExecutor"]
