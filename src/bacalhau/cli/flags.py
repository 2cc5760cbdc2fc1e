"""Flags that several commands share."""

from bacalhau.cli.command import Flag

RUN_TIME = (
    Flag(
        "wait", "bool", "Follow the job until it ends; --wait=false returns at once.", default=True
    ),
    Flag("wait-timeout-secs", "uint", "Stop following after so long; 0: never.", word="seconds"),
    Flag("id-only", "bool", "Print only the job's id."),
    Flag("node-details", "bool", "At the end, show what the job wrote, by node."),
    Flag("follow", "bool", "Print what the job writes, instead of its progress.", short="f"),
    Flag("group-events", "bool", "Accepted and without effect.", hidden=True),
)
"""How a command goes on after it submitted a job."""

DRY_RUN = Flag("dry-run", "bool", "Print the job as YAML; submit nothing.")
NAMESPACE = Flag("namespace", "text", "Namespace in which the name is looked up.", word="name")

NETWORKS = ("None", "Host", "Full", "HTTP", "Bridge", "Default")

TASK = (
    Flag("name", "text", "Name of the job; a job of that name is updated."),
    Flag("namespace", "text", "Namespace of the job.", default="default", word="name"),
    Flag("priority", "uint32", "Higher goes first.", word="number"),
    Flag("count", "uint32", "How many executions (partitions).", default=1, word="number"),
    Flag("concurrency", "uint32", "Old name of --count.", default=1, hidden=True, word="number"),
    Flag("target", "choice", "any: --count executions on any nodes; all: one on every node.",
         choices=("any", "all"), default="any"),
    Flag("constraints", "text", "Only nodes with these labels, e.g. region in (eu,us),gpu.",
         word="selector"),
    Flag("selector", "text", "Old name of --constraints.", short="s", hidden=True),
    Flag("labels", "list", "Labels of the job.", short="l", word="key=value,..."),
    Flag("task-name", "text", "Name of the task.", default="main", word="name"),
    Flag("env", "texts", "Environment variable of the task.", short="e", word="KEY=VALUE"),
    Flag("input", "texts", "Data and where it appears: s3://bucket/key:/in, https://host/file, "
         "file:///path-on-node:/in, or a small local path ./data:/in.",
         short="i", word="uri[:path]"),
    Flag("output", "texts", "Directory whose content is kept.", short="o", word="name:path"),
    Flag("publisher", "text", "Where results go: managed, local, s3://bucket/key, ipfs ...",
         short="p"),
    Flag("cpu", "text", "CPU, such as 500m or 2.", word="cores"),
    Flag("memory", "text", "Memory, such as 512MB or 2GiB.", word="size"),
    Flag("disk", "text", "Disk, such as 10GB.", word="size"),
    Flag("gpu", "text", "GPUs.", word="number"),
    Flag("network", "choice", "Network of the task.", choices=NETWORKS, default="Default"),
    Flag("domain", "texts", "Domain that the task may reach, with --network HTTP."),
    Flag("timeout", "uint", "Longest time for the whole job; 0: no limit.", word="seconds"),
    Flag("queue-timeout", "uint", "Longest time in the queue; 0: no limit.", word="seconds"),
)  # fmt: skip
"""What describes a job whose task is on the command line."""
