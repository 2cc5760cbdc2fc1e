"""What every source must do. Subclass SourceContract in a test module of the plug-in.

The suite needs pytest and pytest-asyncio (mode auto).
"""

from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from bacalhau.model.errors import EngineFailed
from bacalhau.model.execution import FaultKind
from bacalhau.model.job import SpecConfig
from bacalhau.ports.source import Source


def tree(path: str | Path) -> dict[str, bytes]:
    """What lies at a path: relative names with content; a file alone has the name ''."""
    root = Path(path)
    if root.is_file():
        return {"": root.read_bytes()}
    files = (file for file in sorted(root.rglob("*")) if file.is_file())
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in files}


class SourceContract(ABC):
    """`good` refers to data that `content` describes as tree() does; `missing` to data that is
    not there (of the kind `missing_kind`); `invalid` has params that make no sense.
    """

    missing_kind = FaultKind.PERMANENT
    in_place = False
    """True when the data is used where it lies."""

    @abstractmethod
    async def make(self) -> Source: ...

    @abstractmethod
    def good(self) -> SpecConfig: ...

    @abstractmethod
    def content(self) -> dict[str, bytes]: ...

    @abstractmethod
    def missing(self) -> SpecConfig: ...

    @abstractmethod
    def invalid(self) -> SpecConfig: ...

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Path:
        """Where a fetch may write: existing and empty."""
        place = tmp_path / "input"
        place.mkdir()
        return place

    async def test_the_name_is_lower_case_and_it_works_here(self) -> None:
        source = await self.make()
        assert source.name == source.name.lower() != ""
        assert await source.probe()

    async def test_good_params_pass_the_check(self) -> None:
        assert not (await self.make()).check(self.good())

    async def test_bad_params_are_named_and_never_fetched(self, directory: Path) -> None:
        source = await self.make()
        assert source.check(self.invalid())
        with pytest.raises(EngineFailed) as caught:
            await source.fetch(self.invalid(), directory, _ignore)
        assert caught.value.fault.kind is FaultKind.PERMANENT

    async def test_missing_params_are_named(self) -> None:
        assert (await self.make()).check(SpecConfig(type=self.good().type))

    async def test_a_fetch_brings_the_data(self, directory: Path) -> None:
        fetched = await (await self.make()).fetch(self.good(), directory, _ignore)
        assert tree(fetched.path) == self.content()
        assert fetched.read_only
        if not self.in_place:
            assert Path(fetched.path).is_relative_to(directory)

    async def test_keys_of_params_are_matched_in_any_case(self, directory: Path) -> None:
        good = self.good()
        loud = {key.upper(): value for key, value in good.params.items()}
        fetched = await (await self.make()).fetch(
            SpecConfig(type=good.type, params=loud), directory, _ignore
        )
        assert tree(fetched.path) == self.content()

    async def test_the_size_is_what_a_fetch_brings_or_unknown(self) -> None:
        size = await (await self.make()).size(self.good())
        brought = 0 if self.in_place else sum(map(len, self.content().values()))
        assert size in (0, brought)

    async def test_progress_never_goes_back(self, directory: Path) -> None:
        told: list[tuple[int, int]] = []
        source = await self.make()
        await source.fetch(self.good(), directory, lambda done, total: told.append((done, total)))
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert all(done <= total for done, total in told if total)

    async def test_a_failed_fetch_leaves_nothing_and_says_why(self, directory: Path) -> None:
        with pytest.raises(EngineFailed) as caught:
            await (await self.make()).fetch(self.missing(), directory, _ignore)
        assert caught.value.fault.kind is self.missing_kind
        assert caught.value.fault.code
        assert caught.value.fault.message
        assert tree(directory) == {}


def _ignore(done: int, total: int) -> None:
    """Nobody watches."""
