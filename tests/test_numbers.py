"""`/metrics`: numbers for the operator, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.clients import opened_house


@pytest.mark.parametrize(
    ("authorization", "status"), [(None, 401), ("Bearer wrong", 401), ("Bearer let-me-count", 200)]
)
async def test_only_whoever_shows_the_token_reads_them(tmp_path: Path, authorization: str | None, status: int) -> None:
    async with opened_house(tmp_path, metrics_token="let-me-count") as house:
        await (await house.customer()).say("Hi")
        headers = {"authorization": authorization} if authorization else {}
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{house.port}", headers=headers) as browser:
            response = await browser.get("/metrics")
        assert response.status_code == status
        if status == 200:
            assert "chatd_connections 1" in response.text


async def test_without_a_token_there_is_no_such_page(tmp_path: Path) -> None:
    async with (
        opened_house(tmp_path) as house,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{house.port}") as browser,
    ):
        assert (await browser.get("/metrics", headers={"authorization": "Bearer x"})).status_code == 404
