"""The documents say what the code does: names, paths, links and settings in them exist."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bacalhau.config import KEYS
from bacalhau.core.admit import Admitted, Facts, admit
from bacalhau.core.jobfile import load
from bacalhau.core.template import render

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
JOB_FILES = sorted(ROOT.glob("examples/*.yaml"))
VARIABLES = {"data": "/data", "texts": "/data/texts", "module": "/data/wordcount.wasm"}
PRIVATE_PATHS = re.compile(r"/tmp/[a-z]|/root/")


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def docs_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


@pytest.mark.usefixtures("docs_on_path")
def test_the_reference_is_what_the_code_says() -> None:
    import generate

    assert generate.stale() == [], "run `make docs`"


@pytest.mark.usefixtures("docs_on_path")
def test_fault_codes_are_followed_through_functions(tmp_path: Path) -> None:
    import fault_codes

    (tmp_path / "a.py").write_text(
        "def refuse(code, message):\n    return outer(code, f'no: {message}')\n"
        "def outer(code, text, kind=FaultKind.USER):\n"
        "    return Fault(kind=kind, code=code, message=text)\n"
        "refuse('Direct', 'x')\nouter('Inner', f'{1} is bad', kind=FaultKind.NODE)\n"
    )
    (tmp_path / "b.py").write_text("from bacalhau.a import outer\nouter('Imported', 'there')\n")
    found = [(one.code, one.kind, one.message) for one in fault_codes.scan(tmp_path)]
    assert found == [
        ("Direct", "user", "no: …"),
        ("Imported", "user", "there"),
        ("Inner", "node", "… is bad"),
    ]


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    broken = [
        target
        for target in targets
        if not target.startswith(("http://", "https://", "#", "mailto:"))
        and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_id)
def test_no_page_names_a_directory_of_one_machine(page: Path) -> None:
    assert [line for line in page.read_text().splitlines() if PRIVATE_PATHS.search(line)] == []


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=_id)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    package = ROOT / "src" / "bacalhau"
    names = re.findall(r"`((?:[a-z_.]+/)+[a-z_.]*|[a-z_]+\.py|[a-z]+\.toml)`", page.read_text())
    assert names
    assert [n for n in names if not ((package / n).exists() or (ROOT / n).exists())] == []


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in PAGES:
        for line in re.findall(r"`make ([a-z ]+)", page.read_text()):
            named |= set(line.split())
    assert named
    assert named <= targets


def test_every_setting_that_a_page_names_exists() -> None:
    known = {name.lower() for name in KEYS}
    known |= {key.name.lower() for key in KEYS.values()}
    sections = {name.rpartition(".")[0] for name in known}
    sections |= {parent.rpartition(".")[0] for parent in sections} | {""}
    unknown = []
    for page in PAGES:
        for name in _settings(page.read_text()):
            low = name.lower()
            if low not in known and low.removesuffix(".*") not in sections:
                unknown.append((_id(page), name))
    assert unknown == []


def _settings(text: str) -> Iterator[str]:
    """What looks like a setting: dotted words in capitals that start with a section's name."""
    roots = {key.name.partition(".")[0] for key in KEYS.values() if "." in key.name}
    pattern = rf"(?<![\w./])((?:{'|'.join(sorted(roots))})(?:\.[A-Z]\w*)+(?:\.\*)?)"
    yield from re.findall(pattern, text)


@pytest.mark.parametrize("file", JOB_FILES, ids=_id)
def test_every_example_is_a_job_that_would_be_admitted(file: Path) -> None:
    spec, notes = load(render(file.read_text(), VARIABLES))
    assert notes == ()
    assert isinstance(admit(spec, Facts(now=1, job_id="j-1", node_id="n-1")), Admitted)


def test_the_example_plug_in_keeps_its_contract() -> None:
    """Its own test, run as its author would: in its directory, by a pytest of its own."""
    options = ("-q", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "test_nap.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=ROOT / "examples" / "plugin",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
