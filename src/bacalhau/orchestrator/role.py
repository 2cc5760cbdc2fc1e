"""The orchestrator as a whole: its loops, and what the API may ask of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from bacalhau.config import redacted
from bacalhau.model.errors import Error
from bacalhau.model.job import Job, JobSpec, SpecConfig
from bacalhau.model.node import NodeInfo
from bacalhau.orchestrator import logs, members, objects, submit
from bacalhau.orchestrator.dispatch import dispatch
from bacalhau.orchestrator.inbox import receive
from bacalhau.orchestrator.scheduler import load, schedule_for_ever
from bacalhau.orchestrator.state import Seen, State
from bacalhau.orchestrator.sweep import sweep
from bacalhau.ports.cluster import LogLine, Member, Submitted
from bacalhau.ports.objects import ObjectInfo


class Orchestrator:
    """Implements ports.cluster.Cluster, one line per question; the answers live next door."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.store = state.store
        self.objects = state.objects

    async def serve(self) -> None:
        """Run all loops until cancelled."""
        load(self.state)
        async with asyncio.TaskGroup() as group:
            for loop in (receive, dispatch, schedule_for_ever, members.watch, sweep):
                group.create_task(loop(self.state), name=f"orchestrator {loop.__name__}")

    async def submit(
        self,
        spec: JobSpec,
        *,
        force: bool,
        actor: str,
        client: Mapping[str, str],
        given: Mapping[str, Any],
    ) -> Submitted:
        return await submit.submit(
            self.state, spec, force=force, actor=actor, client=client, given=given
        )

    async def submit_many(
        self, specs: Sequence[JobSpec], *, actor: str, client: Mapping[str, str]
    ) -> tuple[Submitted | Error, ...]:
        return await submit.submit_many(self.state, specs, actor=actor, client=client)

    async def diff(self, spec: JobSpec) -> tuple[str, tuple[str, ...]]:
        return await submit.compare(self.state, spec)

    async def rerun(self, job_id: str, version: int, actor: str) -> Submitted:
        return await submit.rerun(self.state, job_id, version, actor)

    async def stop(self, job_id: str, reason: str, actor: str) -> str:
        return await submit.stop(self.state, job_id, reason, actor)

    def queue_reason(self, job: Job) -> str:
        if job.state.is_terminal:
            return ""
        return self.state.queue.reason(job.id) or ""

    def members(self) -> tuple[Member, ...]:
        never = Seen(0)
        answer = []
        for view in self.store.nodes():
            seen = self.state.seen.get(view.node.id, never)
            answer.append(
                Member(
                    view=view,
                    last_heartbeat=seen.time,
                    running=seen.running,
                    waiting=seen.waiting,
                )
            )
        return tuple(answer)

    async def update_node(self, node_id: str, action: str, message: str, actor: str) -> None:
        await members.decide(self.state, node_id, action, message)

    def logs(
        self, job_id: str, *, execution_id: str, version: int, follow: bool, tail: bool
    ) -> AsyncIterator[LogLine]:
        return logs.logs(
            self.state,
            job_id,
            execution_id=execution_id,
            version=version,
            follow=follow,
            tail=tail,
        )

    async def results(self, job: Job) -> tuple[SpecConfig, ...]:
        return await objects.results(self.state, job)

    async def accept_upload(
        self, key: str, expires: str, signature: str, body: AsyncIterator[bytes]
    ) -> ObjectInfo:
        return await objects.accept_upload(self.state, key, expires, signature, body)

    async def open_object(
        self, key: str, expires: str, signature: str, offset: int
    ) -> tuple[ObjectInfo, AsyncIterator[bytes]]:
        return await objects.open_object(self.state, key, expires, signature, offset)

    async def wait(self, job_id: str, revision: int, timeout_s: float) -> Job:
        with logs.watching(self.state, job_id) as changed:
            job = await submit.require(self.state, job_id)
            if job.revision > revision:
                return job
            try:
                async with asyncio.timeout(timeout_s):
                    while job.revision <= revision:
                        await changed.wait()
                        changed.clear()
                        job = await submit.require(self.state, job_id)
            except TimeoutError:
                pass
            return job

    def node_info(self) -> NodeInfo:
        return self.state.info

    def config_view(self) -> dict[str, Any]:
        return redacted(self.state.config)

    def debug(self) -> dict[str, Any]:
        return {
            "DiscoveredNodes": [view.node.id for view in self.store.nodes()],
            "LiveJobs": self.store.live_count(),
            "QueuedJobs": len(self.state.queue),
        }
