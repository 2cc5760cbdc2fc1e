"""What a wasm program can reach: its inputs for reading, its outputs, and nothing else."""

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from modules import tool, work

from bacalhau.executors.wasm import WasmExecutor
from bacalhau.ports.executor import Mount, Outcome
from bacalhau.testing.contracts.executor import read


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[WasmExecutor]:
    made = WasmExecutor(tmp_path / "cache", workers=1)
    yield made
    await made.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of input: a.txt, sub/b.txt."""
    place = tmp_path / "data"
    (place / "sub").mkdir(parents=True)
    (place / "a.txt").write_text("a")
    (place / "sub" / "b.txt").write_text("b")
    return place


class Shell:
    """Runs commands of the tool with the same mounts, each as an execution of its own."""

    def __init__(self, engine: WasmExecutor, place: Path, *mounts: Mount) -> None:
        self.engine = engine
        self.place = place
        self.inputs = [mount for mount in mounts if not mount.target.startswith("/out")]
        self.outputs = tuple(mount for mount in mounts if mount.target.startswith("/out"))
        self.count = 0
        self.stdout = ""
        self.stderr = ""
        self.outcome = Outcome()

    async def __call__(self, *command: str) -> int:
        self.count += 1
        given = work(
            self.place,
            tool(*command),
            id=f"e-{self.count}",
            inputs=self.inputs,
            outputs=self.outputs,
        )
        await self.engine.start(given)
        self.outcome = await self.engine.wait(given.execution_id)
        self.stdout, self.stderr = read(given.stdout), read(given.stderr)
        await self.engine.release(given.execution_id)
        assert os.listdir(given.directory) == []
        return self.outcome.exit_code


def output(tmp_path: Path, target: str = "/out") -> Mount:
    place = tmp_path / target.strip("/").replace("/", "-")
    place.mkdir()
    return Mount(source=str(place), target=target, read_only=False)


async def test_outputs_appear_at_their_paths(engine: WasmExecutor, tmp_path: Path) -> None:
    one, two = output(tmp_path, "/out"), output(tmp_path, "/out/deep/er")
    shell = Shell(engine, tmp_path, one, two)
    assert await shell("copy", "/tool.wasm", "/out/x") != 0  # code is not data
    assert await shell("fill", "/out/deep/er/x", "1") == 0
    assert await shell("mkdir", "/out/new") == 0
    assert await shell("fill", "/out/new/y", "1") == 0
    assert (Path(two.source) / "x").stat().st_size == 1 << 20
    assert (Path(one.source) / "new" / "y").stat().st_size == 1 << 20


async def test_inputs_cannot_be_changed_in_any_way(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    single = tmp_path / "single.txt"
    single.write_text("single")
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(data), target="/data"),
        Mount(source=str(single), target="/file.txt"),
        output(tmp_path),
    )
    assert await shell("copy", "/data/a.txt", "/out/copy") == 0
    for command in (
        ("copy", "/out/copy", "/data/a.txt"),
        ("copy", "/out/copy", "/file.txt"),
        ("copy", "/out/copy", "/data/new"),
        ("copy", "/out/copy", "/new"),
        ("fill", "/data/a.txt", "1"),
        ("fill", "/file.txt", "1"),
        ("truncate", "/data/a.txt"),
        ("truncate", "/file.txt"),
        ("rm", "/data/a.txt"),
        ("rm", "/file.txt"),
        ("mkdir", "/data/new"),
        ("mv", "/data/a.txt", "/data/z.txt"),
        ("mv", "/data/a.txt", "/out/z.txt"),
        ("mv", "/out/copy", "/data/z.txt"),
        ("ln", "/data/a.txt", "/out/alias"),
        ("ln", "/file.txt", "/out/alias"),
        ("symlink", "a.txt", "/data/alias"),
        ("touch", "/data/a.txt"),
        ("touch", "/file.txt"),
    ):
        assert await shell(*command) != 0, command
        assert shell.outcome.fault is None, command
    assert sorted(os.listdir(data)) == ["a.txt", "sub"]
    assert ((data / "a.txt").read_text(), single.read_text()) == ("a", "single")


async def test_nothing_outside_can_be_reached(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (data / "absolute").symlink_to(secret)
    (data / "relative").symlink_to("../secret.txt")
    (data / "inside").symlink_to("a.txt")
    shell = Shell(engine, tmp_path, Mount(source=str(data), target="/data"), output(tmp_path))
    for path in (
        "/etc/passwd",
        "/data/../secret.txt",
        "/data/../../../../../../etc/passwd",
        "/data/absolute",
        "/data/relative",
        str(secret),
        "/proc/self/environ",
    ):
        assert await shell("copy", path, "/out/stolen") != 0, path
    assert await shell("symlink", "../secret.txt", "/out/way") == 0
    assert await shell("copy", "/out/way", "/out/stolen") != 0
    assert await shell("symlink", str(secret), "/out/absolute") != 0
    assert await shell("copy", "/data/inside", "/out/inside") == 0
    assert await shell("ls", "/") != 0


async def test_nested_inputs_are_each_at_their_target(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.txt").write_text("c")
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(data), target="/data"),
        Mount(source=str(other), target="/data/sub"),
        output(tmp_path, "/out"),
    )
    assert await shell("copy", "/data/a.txt", "/out/a") == 0
    assert await shell("copy", "/data/sub/c.txt", "/out/c") == 0
    assert await shell("copy", "/data/sub/b.txt", "/out/b") != 0  # covered by the inner one


async def test_files_as_inputs_share_directories(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(name)
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(tmp_path / "one"), target="/in/1.txt"),
        Mount(source=str(tmp_path / "two"), target="in/2.txt"),
        Mount(source=str(tmp_path / "three"), target="/3.txt"),
        output(tmp_path),
    )
    assert await shell("ls", "/in") == 0
    assert sorted(shell.stdout.split()) == ["1.txt", "2.txt"]
    assert await shell("copy", "/3.txt", "/out/3") == 0
    assert await shell("copy", "3.txt", "/out/again") == 0  # relative to /
    assert (tmp_path / "out" / "again").read_text() == "three"


async def test_a_file_inside_a_directory_input_stands_beside_its_files(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "extra").write_text("extra")
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(data), target="/data"),
        Mount(source=str(tmp_path / "extra"), target="/data/extra.txt"),
        output(tmp_path),
    )
    assert await shell("ls", "/data") == 0
    assert sorted(shell.stdout.split()) == ["a.txt", "extra.txt"]
    for name in ("a.txt", "extra.txt", "sub/b.txt"):
        assert await shell("copy", f"/data/{name}", "/out/copy") == 0, name
    assert await shell("copy", "/out/copy", "/data/a.txt") != 0


async def test_a_file_inside_a_link_of_a_directory_input_opens_no_way_out(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere" / "deep" / "secret").write_text("secret")
    (tmp_path / "extra").write_text("extra")
    (data / "way").symlink_to(tmp_path / "elsewhere")
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(data), target="/data"),
        Mount(source=str(tmp_path / "extra"), target="/data/way/deep/extra"),
    )
    assert await shell("ls", "/data/way/deep") == 0
    assert shell.stdout == "extra\n"


async def test_a_file_of_another_file_system_is_copied(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as far:
        far.write(b"far")
        far.flush()
        shell = Shell(engine, tmp_path, Mount(source=far.name, target="/far"), output(tmp_path))
        assert await shell("copy", "/far", "/out/near") == 0
        assert await shell("truncate", "/far") != 0
    assert (tmp_path / "out" / "near").read_text() == "far"


async def test_a_file_inside_a_writable_directory_input_is_refused(
    engine: WasmExecutor, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "extra").write_text("extra")
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(data), target="/data", read_only=False),
        Mount(source=str(tmp_path / "extra"), target="/data/extra.txt"),
    )
    await shell("ls", "/data")
    assert shell.outcome.fault is not None
    assert shell.outcome.fault.code == "InputOverlap"


async def test_a_writable_input_is_written_in_place_and_its_neighbour_is_not(
    engine: WasmExecutor, tmp_path: Path
) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).write_text(name)
    shell = Shell(
        engine,
        tmp_path,
        Mount(source=str(tmp_path / "mine"), target="/d/mine", read_only=False),
        Mount(source=str(tmp_path / "theirs"), target="/d/theirs"),
    )
    assert await shell("copy", "/d/theirs", "/d/mine") == 0
    assert await shell("fill", "/d/theirs", "1") == 0  # a copy, thrown away
    assert (tmp_path / "mine").read_text() == "theirs"
    assert (tmp_path / "theirs").read_text() == "theirs"


async def test_a_real_program_counts_words(engine: WasmExecutor, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "wasm" / "wordcount.wasm"
    texts = tmp_path / "texts"
    (texts / "more").mkdir(parents=True)
    (texts / "one.txt").write_text("The cat and the dog.\nThe end")
    (texts / "more" / "two.txt").write_text("a cat, a CAT; caf\u00e9!")
    program = Mount(source=str(example), target="/main.wasm")
    given = work(
        tmp_path,
        inputs=[program, Mount(source=str(texts), target="/inputs")],
        outputs=(Mount(source=str(tmp_path), target="/outputs", read_only=False),),
    )
    await engine.start(given)
    assert (await engine.wait("e-1")).exit_code == 0
    assert read(given.stdout) == "12 words, 7 different, in 2 files\n"
    assert (tmp_path / "counts.csv").read_text().splitlines() == [
        "word,count",
        "cat,3",
        "the,3",
        "a,2",
        "and,1",
        "caf\u00e9,1",
        "dog,1",
        "end,1",
    ]
