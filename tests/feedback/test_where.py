"""Which log a command means: that of its options, else the one a server started here would write."""

from pathlib import Path

import pytest

from engine import BadSettings
from feedback import find_log


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, without variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOUCHSTONE_STATE_DIR", "TOUCHSTONE_FEEDBACK__DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_each_place_goes_before_the_next(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_log().log == find_log().state_dir / "touchstone.db"
    (here / "touchstone.toml").write_text('state_dir = "of-the-file"')
    assert find_log().log == Path("of-the-file/touchstone.db")
    monkeypatch.setenv("TOUCHSTONE_STATE_DIR", "of-the-environment")
    assert find_log().log == Path("of-the-environment/touchstone.db")
    (here / "touchstone.toml").write_text('[feedback]\ndatabase_url = "postgresql://u:hidden@h/d"')
    found = find_log()
    assert (found.log, found.state_dir) == ("postgresql://u:hidden@h/d", Path("of-the-environment"))
    assert str(found) == "postgresql://u:***@h/d"
    monkeypatch.setenv("TOUCHSTONE_FEEDBACK__DATABASE_URL", "sqlite:///other.db")
    assert find_log().log == "sqlite:///other.db"
    assert find_log(state_dir=Path("given")).log == Path("given/touchstone.db")
    assert find_log("sqlite:///mine.db", Path("given")).log == "sqlite:///mine.db"


def test_another_file_is_read_and_a_broken_one_is_named(here: Path) -> None:
    (here / "other.toml").write_text('state_dir = "elsewhere"')
    assert find_log(config=here / "other.toml").state_dir == Path("elsewhere")
    (here / "touchstone.toml").write_text("[feadback]")
    with pytest.raises(BadSettings, match="did you mean feedback"):
        find_log()
    (here / "touchstone.toml").write_text("feedback = 3")
    with pytest.raises(BadSettings, match="feedback: must be a table"):
        find_log()
