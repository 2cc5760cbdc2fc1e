"""The engine `nap` keeps the executor contract."""

from bacalhau.model.job import SpecConfig
from bacalhau.testing.contracts.executor import ExecutorContract


class TestNap(ExecutorContract):
    plugin = "nap:NapExecutor"
    handles_files = False  # it runs no program, so it has no files and no output

    def exits(self, code):
        return SpecConfig(type="nap", params={"Seconds": 0, "Status": code})

    def loops(self):
        return SpecConfig(type="nap", params={"Seconds": 3600})
