"""The loops of the engine: start, follow, watch, stop, release."""

import asyncio
import contextlib
import hashlib
import logging
import os
import posixpath
import re
import resource
import signal
import tempfile
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import cached_property, partial

from bacalhau.executors.process import disk, ending, host, launch, limits, params, status
from bacalhau.executors.process.admit import Settings, admit, failed, limits_of
from bacalhau.executors.process.command import Program
from bacalhau.executors.process.outcome import Ended, Taken, judge
from bacalhau.executors.process.run import Run, trespass
from bacalhau.executors.process.stage import Stage
from bacalhau.model.errors import NotFound, Unavailable
from bacalhau.model.execution import FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.executor import Outcome, Work

NOBODY = 65534
GIB = 1024**3
WATCH_S = 0.5
"""How often the outputs of running work are measured."""
_POLL_S = 0.02
_CGROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_log = logging.getLogger(__name__)


class ProcessExecutor:
    """Runs programs of the node, each in a sandbox of bubblewrap.

    `sandbox` off: programs run as they are, as the node's own user; only for trusted work.
    `allow`: globs of commands that jobs may run; empty: any (see command.is_allowed).
    `read_only_paths`: more paths of the node that every sandbox shows, read-only.
    `max_processes`: processes and threads of one run. `open_files`: of one process.
    `cpu_time_s`: CPU seconds of one process; 0: no limit.
    `scratch_bytes`: what /tmp and the home may hold, each; it is memory, and counted as such.
    `host_network`: whether jobs that ask for the host's network get it.
    `user`: the uid that programs run as when the node itself runs as root.
    `search`: where commands are looked up; None: the node's own PATH.
    """

    name = "process"

    def __init__(
        self,
        *,
        sandbox: bool = True,
        allow: Sequence[str] = (),
        read_only_paths: Sequence[str] = (),
        max_processes: int = 256,
        open_files: int = 1024,
        cpu_time_s: int = 0,
        scratch_bytes: int = GIB,
        host_network: bool = True,
        user: int = NOBODY,
        search: str | None = None,
    ) -> None:
        if user <= 0:
            raise ValueError(
                "user must be the uid of an ordinary user: a program with root's own uid can "
                "change the kernel's settings through /proc/sys, even without capabilities"
            )
        self._settings = Settings(
            sandbox=sandbox,
            allow=tuple(allow),
            read_only_paths=tuple(map(posixpath.normpath, read_only_paths)),
            max_processes=max_processes,
            open_files=open_files,
            cpu_time_s=cpu_time_s,
            scratch_bytes=scratch_bytes,
            host_network=host_network,
        )
        self._user = user
        self._search = os.environ.get("PATH", os.defpath) if search is None else search
        self._runs: dict[str, Run] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._watcher: asyncio.Task[None] | None = None

    @cached_property
    def _host(self) -> host.Host:
        return host.look(self._settings.read_only_paths, self._user, self._search)

    @cached_property
    def _stage(self) -> Stage | None:
        return Stage(self._host.user) if self._host.user else None

    # -- the port ----------------------------------------------------------------------------

    async def probe(self) -> Mapping[str, str] | None:
        """`process.sandbox`, `process.limits`, ...; None without a sandbox that works."""
        facts = {"process.uid": str(self._host.user or os.geteuid())}
        if self._settings.allow:
            facts["process.allow"] = " ".join(self._settings.allow)
        if not self._settings.sandbox:
            facts["process.uid"] = str(os.geteuid())
            return {**facts, "process.sandbox": "off", "process.limits": "rlimits"}
        if complaint := await self._try_out():
            _log.warning("the process engine is not offered: no working sandbox: %s", complaint)
            return None
        groups = self._host.cgroups
        if groups:
            limits.sweep(groups, time.time())
        return {
            **facts,
            "process.sandbox": "bubblewrap",
            "process.limits": groups.kind if groups else "rlimits",
            "process.seccomp": "off" if self._host.filter_fd is None else "on",
        }

    def check(self, engine: SpecConfig) -> Sequence[str]:
        return params.check(engine)

    async def start(self, work: Work) -> None:
        id = work.execution_id
        if id in self._runs:
            return
        if (task := self._starting.get(id)) is None:
            task = self._starting[id] = asyncio.create_task(self._start(work))
            task.add_done_callback(lambda _: self._starting.pop(id, None))
        await asyncio.shield(task)  # half a start would be an orphan

    async def _start(self, work: Work) -> None:
        if reasons := params.check(work.engine):
            raise failed(FaultKind.PERMANENT, "BadParams", "; ".join(reasons))
        os.makedirs(work.directory, exist_ok=True)
        fd = status.lock(work.directory, create=True)
        was_started = fd is None or os.fstat(fd).st_size > 0
        try:
            if fd is not None and not was_started:
                wanted = params.read(work.engine)
                program = admit(work, wanted, self._settings, self._host)
                await self._begin(work, wanted, program, fd)
        except BaseException:
            os.unlink(status.path_in(work.directory))
            raise
        finally:
            if fd is not None:
                os.close(fd)  # the lock stays with the run, which has inherited it
        if was_started and not await self.attach(work):
            raise failed(
                FaultKind.NODE,
                "Interrupted",
                "it was started before, and nobody knows how it ended",
            )

    async def attach(self, work: Work) -> bool:
        if work.execution_id in self._runs:
            return True
        try:
            fd = status.lock(work.directory)
        except FileNotFoundError:
            return False
        found = status.read(work.directory)
        if fd is not None:
            os.close(fd)
        is_known = found.exit_code is not None or found.fault is not None
        # without bubblewrap nobody writes down the exit code: such a run is ended and redone
        if not is_known and (fd is not None or not self._settings.sandbox):
            await ending.clear(found, work.directory)
            return False
        run = self._remember(work, found.cgroups)
        self._spin(run, self._follow(run))
        return True

    async def wait(self, execution_id: str) -> Outcome:
        run = self._runs.get(execution_id)
        if run is None:
            raise NotFound(f"process: execution '{execution_id}' was never started here")
        try:
            return await asyncio.shield(run.outcome)
        except asyncio.CancelledError:
            if run.outcome.cancelled():
                raise Unavailable("the process engine was closed; the run goes on") from None
            raise

    async def stop(self, execution_id: str, grace_s: float) -> None:
        run = self._runs.get(execution_id)
        if run is None or run.outcome.done():
            return
        run.was_stopped = True
        end = time.monotonic() + grace_s
        asked: set[int] = set()
        while (left_s := end - time.monotonic()) > 0 and not run.outcome.done():
            asked |= self._ask_to_end(run, asked)
            await asyncio.wait([run.outcome], timeout=left_s if asked else min(left_s, _POLL_S))
        while not run.outcome.done():
            self._kill(run)
            await asyncio.wait([run.outcome], timeout=_POLL_S)

    async def release(self, execution_id: str) -> None:
        await self.stop(execution_id, grace_s=0)
        run = self._runs.pop(execution_id, None)
        if run is None:
            return
        await ending.remove_cgroups(run.cgroups)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(status.path_in(run.work.directory))

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        tasks = [task for run in self._runs.values() for task in run.tasks]
        if self._watcher is not None:
            tasks.append(self._watcher)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in self._runs.values():
            if run.pidfd >= 0:
                loop.remove_reader(run.pidfd)
                os.close(run.pidfd)
                run.pidfd = -1
            run.outcome.cancel()
        self._runs.clear()
        if "_host" in self.__dict__:
            if self._host.filter_fd is not None:
                os.close(self._host.filter_fd)
            del self._host
        if stage := self.__dict__.pop("_stage", None):
            stage.close()

    # -- start -------------------------------------------------------------------------------

    async def _begin(self, work: Work, wanted: params.Params, program: Program, lock: int) -> None:
        """Spawns the run; it inherits the lock. Raises EngineFailed."""
        bounds = limits_of(work, self._settings)
        groups: tuple[str, ...] = ()
        try:
            if self._settings.sandbox and self._host.cgroups:
                groups = self._host.cgroups.make(cgroup_name(work), bounds)
            status.write_first(lock, groups)
            if self._settings.sandbox:
                spawn = partial(
                    launch.in_sandbox,
                    work,
                    wanted,
                    program,
                    settings=self._settings,
                    host=self._host,
                    stage=self._stage,
                    bounds=bounds,
                    groups=groups,
                    lock=lock,
                )
                pid = await self._stage.run(spawn) if self._stage else spawn()
            else:
                pid = launch.bare(work, wanted, program, bounds, lock)
        except OSError as error:
            limits.remove(groups)
            raise failed(
                FaultKind.NODE, "SpawnFailed", f"'{program.path}' could not be started: {error}"
            ) from error
        run = self._remember(work, groups)
        run.pid, run.pidfd = pid, os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(run.pidfd, self._ended, run)

    def _remember(self, work: Work, groups: tuple[str, ...]) -> Run:
        loop = asyncio.get_running_loop()
        run = Run(work, limits_of(work, self._settings), groups, loop.create_future())
        self._runs[work.execution_id] = run
        if self._watcher is None or self._watcher.done():
            self._watcher = loop.create_task(self._watch())
        return run

    # -- the end -----------------------------------------------------------------------------

    def _ended(self, run: Run) -> None:
        """Our child has ended: reap it, judge it."""
        asyncio.get_running_loop().remove_reader(run.pidfd)
        os.close(run.pidfd)
        run.pidfd = -1
        if not self._settings.sandbox:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(run.pid, signal.SIGKILL)  # what it left in the background
        _, code, used = os.wait4(run.pid, 0)
        run.pid = 0
        usage = {"cpu_s": used.ru_utime + used.ru_stime}
        # before its exec a child counts as large as we are; only more than that is its own
        if used.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            usage["memory_bytes_max"] = used.ru_maxrss * 1024.0
        if not self._settings.sandbox:
            exit_code = os.waitstatus_to_exitcode(code)
            exit_code = 128 - exit_code if exit_code < 0 else exit_code
            status.append(run.work.directory, {"exit-code": exit_code})
            found, init = status.Status(exit_code=exit_code, fault=run.fault), None
        else:
            found = status.read(run.work.directory)
            init = ending.survivor(found)
        if init is None and not run.work.outputs:
            self._settle(run, found, disk.streams(run.work), usage)
        else:
            self._spin(run, self._settle_late(run, found, init, usage))

    async def _follow(self, run: Run) -> None:
        """Waits for the end of a run that another process started."""
        directory = run.work.directory
        while (fd := status.lock(directory)) is None:
            pidfd = status.open_init(status.read(directory))
            if pidfd is not None:
                await ending.ended(pidfd)
            await asyncio.sleep(_POLL_S)  # bubblewrap is at its start, or writes the exit code
        os.close(fd)
        found = status.read(directory)
        await self._settle_late(run, found, ending.survivor(found), {})

    async def _settle_late(
        self, run: Run, found: status.Status, init: int | None, usage: dict[str, float]
    ) -> None:
        """Settles when nothing of the run is left that could still change its outputs.

        bubblewrap ends with the program; what that left in the background does not.
        """
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(init, signal.SIGKILL)
            await ending.ended(init)
        taken = disk.streams(run.work)
        if run.work.outputs:
            taken = await asyncio.to_thread(disk.measure, run.work)
        self._settle(run, found, taken, usage)

    def _settle(
        self, run: Run, found: status.Status, taken: Taken, usage: dict[str, float]
    ) -> None:
        words = disk.last_words(run.work.stderr) if found.exit_code != 0 and taken.stderr else ""
        ended = Ended(
            status=found,
            limits=run.limits,
            has_cgroups=bool(run.cgroups),
            events=limits.events(
                run.cgroups if found.exit_code != 0 or run.limits.memory_bytes else ()
            ),
            taken=taken,
            was_stopped=run.was_stopped,
            complaint=disk.complaint(words) if found.exit_code is None else "",
            last_words=words,
            usage=usage,
        )
        if not run.outcome.done():
            run.outcome.set_result(judge(ended))

    def _ask_to_end(self, run: Run, asked: set[int]) -> set[int]:
        """Sends SIGTERM to the program, once; the ids it was sent to."""
        if not self._settings.sandbox:
            if run.pid and run.pid not in asked:
                os.killpg(run.pid, signal.SIGTERM)
            return {run.pid}
        return ending.ask_program(status.read(run.work.directory), asked)

    def _kill(self, run: Run) -> None:
        """Ends all processes of the run: its namespace dies with its first process."""
        if self._settings.sandbox and ending.end_all(status.read(run.work.directory)):
            return
        if run.pid:  # bare, or bubblewrap has not made its namespaces yet
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)

    def _spin(self, run: Run, body: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(body)
        run.tasks.add(task)
        task.add_done_callback(run.tasks.discard)

    # -- watch -------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Ends runs that fill the disk or fork without end; lives as long as there are runs."""
        pause_s = WATCH_S
        while True:
            await asyncio.sleep(pause_s)
            begin = time.monotonic()
            live = [run for run in self._runs.values() if not run.outcome.done()]
            for run in live:
                fault = await trespass(run)
                if fault is not None and not run.outcome.done():
                    run.fault = fault
                    with contextlib.suppress(FileNotFoundError):  # released meanwhile
                        status.append(run.work.directory, status.fault_line(fault))
                    self._kill(run)
            if not live:
                return
            # a large tree takes long to measure: spend at most a tenth of the time on it
            pause_s = max(WATCH_S, 10 * (time.monotonic() - begin))

    # -- probe -------------------------------------------------------------------------------

    async def _try_out(self) -> str:
        """Runs /bin/true in a sandbox, with all limits; why that failed, or ''."""
        if not self._host.bwrap:
            return "bubblewrap is not installed"
        with tempfile.TemporaryDirectory(prefix="bacalhau-probe-") as place:
            work = Work(
                execution_id=os.path.basename(place),
                engine=SpecConfig(type=self.name, params={"Command": "/bin/true"}),
                directory=place,
                stdout=os.path.join(place, "stdout"),
                stderr=os.path.join(place, "stderr"),
            )
            fd = status.lock(place, create=True)
            assert fd is not None, "a new directory has no other user"
            program = Program("/bin/true", "/bin/true")
            begin = asyncio.ensure_future(self._begin(work, params.read(work.engine), program, fd))
            try:
                try:
                    await asyncio.shield(begin)
                finally:
                    await asyncio.wait([begin])
                    os.close(fd)
                outcome = await self.wait(work.execution_id)
            except Exception as error:
                return str(error)
            finally:
                # Also when the node goes down amid a probe: nothing of it stays.
                await self.release(work.execution_id)
            return outcome.fault.message if outcome.fault else ""


def cgroup_name(work: Work) -> str:
    """The name of a run's cgroups: no two runs of this machine share one."""
    place = hashlib.sha256(work.directory.encode(errors="surrogateescape")).hexdigest()[:12]
    id = work.execution_id if _CGROUP_NAME.fullmatch(work.execution_id) else "run"
    return f"bacalhau-{id}-{place}"
