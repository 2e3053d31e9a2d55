"""Body of `POST /v1/suites`: tests to be named in requests later."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.wire.base import Closed


class SuiteRequest(Closed):
    """A suite to store."""

    code: Annotated[str, Field(min_length=1)]
    """Tests, as `rerank.tests.code` takes them."""
    language: Literal["python"] = "python"
    entry_point: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """For requests that name none."""
    visible: bool = True
    """Whether the prompt's author knows them. False: no reply shows them, nor what they said of a candidate."""
    public: bool = False
    """Whether other keys may name it."""
