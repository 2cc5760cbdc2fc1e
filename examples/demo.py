"""Three regions, each with data of its own; jobs go to the data, only results come back.

Starts a cluster on this machine (one orchestrator, three compute nodes), splits the Python
sources that this machine carries among three regions, counts what they are made of where they
lie, counts the words of the licences in WebAssembly, prints the merged results and cleans up.
"""

import asyncio
import base64
import collections
import csv
import json
import shutil
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from bacalhau.app import Running
from bacalhau.client import AsyncClient
from bacalhau.model.errors import Error
from bacalhau.testing.stack import stack

HERE = Path(__file__).parent
REGIONS = ("eu", "us", "asia")
PARTITIONS = 4
FILES_PER_REGION = 400


def collect(root: Path) -> dict[str, int]:
    """Give each region its share of the standard library, and the licences to all."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    counts = dict.fromkeys(REGIONS, 0)
    packages = sorted(
        path
        for path in stdlib.iterdir()
        if path.name not in ("site-packages", "dist-packages", "test", "__pycache__", "idlelib")
    )
    for number, package in enumerate(packages):
        region = REGIONS[number % len(REGIONS)]
        for path in [package] if package.is_file() else sorted(package.rglob("*.py")):
            if path.suffix != ".py" or counts[region] >= FILES_PER_REGION:
                continue
            target = root / region / path.relative_to(stdlib)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            counts[region] += 1
    texts = root / "licences"
    texts.mkdir()
    shutil.copyfile(HERE.parent / "LICENSE", texts / "apache-2.0.txt")
    for path in (stdlib / "LICENSE.txt", Path("/usr/share/common-licenses/GPL-3")):
        if path.exists():
            shutil.copyfile(path, texts / path.with_suffix(".txt").name)
    return counts


def settings(root: Path, region: str) -> dict[str, object]:
    """A node sees its own region's data and the licences, nothing else."""
    return {
        "Labels": {"region": region},
        "Compute.AllowListedLocalPaths": (f"{root}/{region}/**", f"{root}/licences/**"),
    }


def census(root: Path, region: str) -> dict[str, object]:
    """One job per region, in partitions, pinned to where the data is."""
    program = (HERE / "census.py").read_text()
    return {
        "Name": f"census-{region}",
        "Type": "batch",
        "Count": PARTITIONS,
        "Constraints": [{"Key": "region", "Operator": "=", "Values": [region]}],
        "Tasks": [
            {
                "Name": "main",
                "Engine": {
                    "Type": "process",
                    "Params": {"Command": "python3", "Arguments": ["-c", program]},
                },
                "InputSources": [
                    {
                        "Source": {
                            "Type": "localDirectory",
                            "Params": {"SourcePath": str(root / region)},
                        },
                        "Target": "/inputs",
                    }
                ],
                "ResultPaths": [{"Name": "counts", "Path": "/outputs"}],
                "Resources": {"CPU": "400m", "Memory": "256mb"},
                "Timeouts": {"ExecutionTimeout": 90},
            }
        ],
    }


def words(root: Path) -> dict[str, object]:
    """The word count in WebAssembly: the module travels inside the job."""
    module = base64.b64encode((HERE / "wasm" / "wordcount.wasm").read_bytes()).decode()
    return {
        "Name": "licence-words",
        "Type": "batch",
        "Tasks": [
            {
                "Name": "main",
                "Engine": {"Type": "wasm", "Params": {"EntryModule": "/wordcount.wasm"}},
                "InputSources": [
                    {
                        "Source": {
                            "Type": "inline",
                            "Params": {"URL": f"data:application/wasm;base64,{module}"},
                        },
                        "Target": "/wordcount.wasm",
                    },
                    {
                        "Source": {
                            "Type": "localDirectory",
                            "Params": {"SourcePath": str(root / "licences")},
                        },
                        "Target": "/inputs",
                    },
                ],
                "ResultPaths": [{"Name": "words", "Path": "/outputs"}],
                "Resources": {"CPU": "400m", "Memory": "128mb"},
            }
        ],
    }


async def finished(client: AsyncClient, job_id: str, name: str) -> None:
    """Wait for the job; a failure names its cause."""
    job = await client.wait(job_id, timeout_s=110)
    if job.state != "completed":
        rows = await client.executions(job_id)
        output = next((e.output.stderr for e in rows if e.output and e.output.stderr), "")
        raise SystemExit(f"{name} ended as {job.state}: {job.message}\n{output}")


async def run(client: AsyncClient, regions: tuple[str, ...], root: Path, out: Path) -> None:
    """Submit everything, wait, fetch, merge, print."""
    began = time.monotonic()
    jobs = {}
    for region in regions:
        jobs[region] = (await client.submit(census(root, region))).job_id
        print(f"  submitted census-{region:<5} {jobs[region]}")
    wasm = (await client.submit(words(root))).job_id
    print(f"  submitted licence-words {wasm}")
    for region, job_id in jobs.items():
        await finished(client, job_id, f"census-{region}")
    await finished(client, wasm, "licence-words")
    print(
        f"\n{len(regions)} x {PARTITIONS} partitions in the process sandbox and one WebAssembly "
        f"module: done in {time.monotonic() - began:.1f} s\n"
    )
    totals: dict[str, collections.Counter[str]] = {}
    imports: collections.Counter[str] = collections.Counter()
    for region, job_id in jobs.items():
        totals[region] = collections.Counter()
        (out / region).mkdir(parents=True)
        await client.download(job_id, out / region)
        for path in sorted((out / region / "counts").iterdir()):
            part = json.loads(path.read_text())
            totals[region].update(part["totals"])
            imports.update(dict(part["imports"]))
    if totals:
        show(totals, imports)
    (out / "wasm").mkdir(parents=True)
    await client.download(wasm, out / "wasm")
    with (out / "wasm" / "words" / "counts.csv").open() as file:
        rows = list(csv.reader(file))
    top = ", ".join(f"{word} ({count})" for word, count in rows[1:9])
    print(f"Words of the licences, counted in WebAssembly: {top}")


def show(totals: dict[str, collections.Counter[str]], imports: collections.Counter[str]) -> None:
    columns = ("files", "lines", "FunctionDef", "AsyncFunctionDef", "ClassDef", "Try", "Lambda")
    heads = ("region", "files", "lines", "def", "async def", "class", "try", "lambda")
    widths = (8, 8, 10, 9, 11, 8, 8, 8)
    print("".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    everything: collections.Counter[str] = collections.Counter()
    for region, counts in [*totals.items(), ("all", everything)]:
        if region != "all":
            everything.update(counts)
        cells = (region, *(f"{counts[column]:,}" for column in columns))
        print("".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))
    top = ", ".join(f"{name} ({count})" for name, count in imports.most_common(8))
    print(f"\nMost imported modules: {top}")


async def main() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="bacalhau-demo-"))
    try:
        root = scratch / "data"
        counts = collect(root)
        members = {f"node-{region}": settings(root, region) for region in REGIONS}
        print("Starting an orchestrator and three compute nodes on this machine ...")
        shared: dict[str, object] = {"Compute.AllocatedCapacity.CPU": "100%"}
        async with stack(scratch / "state", shared, members) as here:
            client = AsyncClient(here.url)
            async with client:
                await members_ready(here)
                for region in REGIONS:
                    print(f"  node-{region:<5} holds {counts[region]} Python files")
                print("Jobs go to the data; only counts come back:")
                regions = REGIONS
                if "process" not in here.nodes[0].info.engines:
                    print(
                        "  (left out: the process engine, as its sandbox needs unprivileged user "
                        "namespaces here)"
                    )
                    regions = ()
                await run(client, regions, root, scratch / "out")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(
        "\nNothing is left behind. Next:\n"
        "  . .venv/bin/activate\n"
        "  bacalhau devstack                                    (a cluster; leave it running)\n"
        "  bacalhau exec -f -- python3 -c 'print(6 * 7)'        (in another terminal)\n"
        "  bacalhau node list; bacalhau job list; bacalhau --help\n"
        "  docs/tutorial.md tells the rest"
    )


async def members_ready(here: Running) -> None:
    """Wait until all nodes are members of the cluster."""
    deadline = time.monotonic() + 20
    while not all(node.welcomed for node in here.nodes):
        if time.monotonic() > deadline:
            raise SystemExit("the nodes did not join their own cluster within 20 s")
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Error as error:
        sys.exit(f"Error: {error}")
