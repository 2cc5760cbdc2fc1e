"""Counts what Python code is made of: one partition of the files below /inputs.

Runs inside a sandbox on the node that holds the files; only the counts leave it.
"""

import ast
import collections
import json
import os
import pathlib
import zlib

index = int(os.environ["BACALHAU_PARTITION_INDEX"])
count = int(os.environ["BACALHAU_PARTITION_COUNT"])
root = pathlib.Path("/inputs")
totals = collections.Counter()
imports = collections.Counter()
for path in sorted(root.rglob("*.py")):
    if zlib.crc32(str(path.relative_to(root)).encode()) % count != index:
        continue
    try:
        text = path.read_text()
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        totals["unreadable"] += 1
        continue
    totals["files"] += 1
    totals["lines"] += text.count("\n")
    for node in ast.walk(tree):
        totals[type(node).__name__] += 1
        if isinstance(node, ast.Import):
            imports.update({alias.name.partition(".")[0] for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports[node.module.partition(".")[0]] += 1
pathlib.Path(f"/outputs/part-{index}.json").write_text(
    json.dumps({"totals": totals, "imports": imports.most_common(50)})
)
print(f"partition {index + 1} of {count}: {totals['files']} files, {totals['lines']} lines")
