"""The generated page is what the configuration says today."""

from server.docs import PAGE, page


def test_the_settings_page_is_current() -> None:
    assert PAGE.read_text() == page() + "\n", "run: make docs"
