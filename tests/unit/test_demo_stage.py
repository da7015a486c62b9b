"""The folder of a demo is its own, and what a demo starts from is refused when it cannot be used."""

import json
from pathlib import Path

import pytest

from backout.cli.demo.orders import PACKAGED_ORDERS, read_orders
from backout.cli.demo.stage import FOLDER_PREFIX, FOLDER_VARIABLE, Stage, open_folder, remove_old_folders
from backout.errors import ConfigurationError


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def folders(parent: Path) -> list[Path]:
    return sorted(parent.glob(f"{FOLDER_PREFIX}*"))


class TestFolder:
    def test_next_demo_removes_the_one_before(self, parent: Path) -> None:
        """A folder stays after its demo and goes when the next one starts."""
        with open_folder(None, is_kept=False) as first:
            pass
        assert folders(parent) == [first]
        with open_folder(None, is_kept=False) as second:
            assert folders(parent) == [second]

    def test_kept_folder_stays(self, parent: Path) -> None:
        """A kept folder is left alone by later demos."""
        with open_folder(None, is_kept=True) as kept:
            pass
        with open_folder(None, is_kept=False) as second:
            assert folders(parent) == sorted([kept, second])

    def test_running_demo_keeps_its_folder(self, parent: Path) -> None:
        """Two demos at a time do not remove each other's folders."""
        with open_folder(None, is_kept=False) as first, open_folder(None, is_kept=False) as second:
            assert folders(parent) == sorted([first, second])

    def test_folder_of_another_kind_is_left_alone(self, parent: Path) -> None:
        """A folder that only has a similar name is not removed."""
        other = parent / f"{FOLDER_PREFIX}notes"
        other.mkdir()
        remove_old_folders(parent)
        assert other.exists()

    def test_chosen_folder_is_emptied_of_an_earlier_demo(self, tmp_path: Path) -> None:
        """A folder that a demo was told to use can be used again, and starts empty."""
        with open_folder(tmp_path / "mine", is_kept=False) as folder:
            (folder / "ledger.sqlite3").touch()
        with open_folder(tmp_path / "mine", is_kept=False) as folder:
            assert not (folder / "ledger.sqlite3").exists()

    def test_chosen_folder_with_other_files_is_refused(self, tmp_path: Path) -> None:
        """Files that are not a demo's are never removed."""
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(ConfigurationError, match="it has files that are not a demo's"):
            with_folder(tmp_path)
        assert (tmp_path / "thesis.txt").exists()

    def test_chosen_folder_in_use_is_refused(self, tmp_path: Path) -> None:
        """Two demos do not share a folder."""
        chosen = tmp_path / "mine"
        with open_folder(chosen, is_kept=False), pytest.raises(ConfigurationError, match="another demo is using it"):
            with_folder(chosen)


def with_folder(chosen: Path) -> None:
    with open_folder(chosen, is_kept=False):
        pass


class TestStage:
    def test_worker_finds_what_was_saved(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The worker of a demo has its stage from the folder alone, which nobody else can read."""
        stage = Stage(
            name="backout-demo-1", folder=str(tmp_path), broker_url="redis://b", database_url="x", answer_seconds=0.3
        )
        stage.save()
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
        assert Stage.of_environment() == stage
        assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0]

    def test_folder_that_is_gone_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A variable left over from a demo whose folder is gone says so."""
        monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "gone"))
        with pytest.raises(ConfigurationError, match="is no folder of a demo"):
            Stage.of_environment()


class TestOrders:
    def test_malformed_entries_are_kept_for_the_pipeline(self) -> None:
        """Reading sorts nothing out: the pipeline refuses what is malformed."""
        orders = read_orders(PACKAGED_ORDERS)
        assert [order.id for order in orders if order.order is None] == ["A-1003"]
        assert len(orders) == 4

    def test_entry_without_id_is_named_by_its_place(self, tmp_path: Path) -> None:
        """Whatever is in the list can be told apart."""
        path = tmp_path / "orders.json"
        path.write_text(json.dumps([17, {"customer": "Ada"}]))
        assert [order.id for order in read_orders(path)] == ["entry 1", "entry 2"]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "Expecting property name"),
            ("{}", "it is no JSON list of orders"),
            ("[]", "it is no JSON list of orders"),
            ('[{"id": "A"}, {"id": "A"}]', "more than one order with the id A"),
        ],
    )
    def test_unusable_file_is_refused(self, tmp_path: Path, text: str, problem: str) -> None:
        """What is no list of orders is refused before anything is started."""
        path = tmp_path / "orders.json"
        path.write_text(text)
        with pytest.raises(ConfigurationError, match=problem):
            read_orders(path)
