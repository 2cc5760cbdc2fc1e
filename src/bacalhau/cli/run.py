"""Submitting: `job run`, `job rerun`, `job validate`, and the end of `exec` and `wasm run`."""

import os
import sys
from typing import Any

from bacalhau.cli.call import Call
from bacalhau.cli.command import Problem
from bacalhau.cli.style import paint
from bacalhau.cli.table import to_yaml
from bacalhau.client import Submitted
from bacalhau.core.check import check
from bacalhau.core.jobfile import INVALID, MAX_TEXT_CHARS, load
from bacalhau.core.wire import spec as view
from bacalhau.model.errors import Error, NotFound, Rejected
from bacalhau.model.job import JobSpec


def run_file(call: Call) -> int:
    """`job run [FILE]`: read, render, check, submit, follow."""
    text = _rendered(call, _read(call.arguments[0] if call.arguments else ""))
    spec, notes = load(text)
    _note(notes)
    _check(spec)
    if call.flags["dry-run"]:
        return _show_difference(call, spec)
    return _submit(call, spec, force=call.flags["force"], quiet=call.flags["hide-warnings"])


def submit_built(call: Call, spec: JobSpec) -> int:
    """Submit (or, with --dry-run, print) a job that the flags made."""
    _check(spec)
    if call.flags["dry-run"]:
        _show_spec(spec)
        return 0
    return _submit(call, spec, force=False, quiet=False)


def rerun(call: Call) -> int:
    from bacalhau.cli.follow import follow

    done = call.client.rerun(call.arguments[0], version=call.flags["version"])
    _warn(done)
    return follow(call, done.job_id, done.version)


def validate(call: Call) -> int:
    """`job validate FILE`: as the client checks before it submits; no server, no template."""
    try:
        spec, notes = load(_read(call.arguments[0]))
        _note(notes)
        _check(spec)
    except Error as error:
        print("Error: the job provided is invalid")
        print("A valid one to start from: bacalhau exec --dry-run -- echo hello")
        raise Problem(error.message, error.hint) from None
    print("OK")
    return 0


def _submit(call: Call, spec: JobSpec, *, force: bool, quiet: bool) -> int:
    from bacalhau.cli.follow import follow

    client = call.connect()
    done = client.submit(spec, force=force)
    if not (quiet or call.flags["id-only"]):
        _warn(done)
    return follow(call, done.job_id, done.version)


def _read(path: str) -> str:
    """The text of a job file, or of standard input for ''. Raises Problem."""
    if not path:
        if sys.stdin.isatty():
            print("Reading from /dev/stdin; send Ctrl-d to stop.", file=sys.stderr, flush=True)
        data = sys.stdin.buffer.read(MAX_TEXT_CHARS + 1)
    else:
        try:
            with open(path, "rb") as file:
                data = file.read(MAX_TEXT_CHARS + 1)
        except OSError as error:
            raise Problem(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_TEXT_CHARS:
        raise Problem(
            f"{path or 'standard input'} is larger than the {MAX_TEXT_CHARS} bytes of a job file",
            "data belongs into inputs (InputSources), not into the job",
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem(
            f"{path or 'standard input'} is not UTF-8 text (byte {error.start})",
            "job files are YAML or JSON",
        ) from None


def _rendered(call: Call, text: str) -> str:
    if call.flags["no-template"]:
        return text
    from bacalhau.core.template import parse_vars, render, select_env

    variables = select_env(call.flags["template-envs"], os.environ)
    variables.update(parse_vars(call.flags["template-vars"]))
    return render(text, variables)


def _check(spec: JobSpec) -> None:
    """Raise Rejected with everything that is wrong with the spec."""
    if reasons := check(spec):
        first, *others = reasons
        raise Rejected(INVALID + first, *others)


def _show_difference(call: Call, spec: JobSpec) -> int:
    """What the job would change on the server; without a server, the job itself."""
    try:
        difference, _ = call.connect().diff(spec)
    except NotFound:
        print("No job of this name exists: it would be created.", file=sys.stderr)
        _show_spec(spec)
        return 0
    except Error as error:
        print(f"Error: {error.message}", file=sys.stderr)
        print("The server cannot compare; this is the job as it was read:", file=sys.stderr)
        _show_spec(spec)
        return 0
    if not difference:
        print("No diff detected.", file=sys.stderr)
    for line in difference.splitlines():
        how = {"+": "green", "-": "red"}.get(line[:1], "")
        print(paint(line, how, sys.stdout))
    return 0


def _show_spec(spec: JobSpec) -> None:
    """The job as a file that `job run` takes."""
    print(to_yaml(pruned(view(spec)), sort=False), end="")


def _note(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"Warning: {note}", file=sys.stderr)


def _warn(done: Submitted) -> None:
    """The server's warnings, on stderr."""
    mark = paint("Warning:", "bold yellow", sys.stderr)
    if len(done.warnings) == 1:
        print(f"{mark} {done.warnings[0]}", file=sys.stderr)
    elif done.warnings:
        print(mark, *(f"  * {warning}" for warning in done.warnings), sep="\n", file=sys.stderr)


_DATA = ("Labels", "Meta", "Env", "Params")
"""Whose values are the user's own: an empty one means something."""


def pruned(data: Any) -> Any:
    """A job's JSON without what is empty, as a person would write it."""
    if isinstance(data, dict):
        inner = {key: value if key in _DATA else pruned(value) for key, value in data.items()}
        return {key: value for key, value in inner.items() if value not in ("", None, {}, [])}
    return [pruned(item) for item in data] if isinstance(data, list) else data
