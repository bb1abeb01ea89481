"""URLs become routes of few names, whatever ids they carry."""

from __future__ import annotations

import pytest

from tinkertape.instrument.tinker.routes import route_of


@pytest.mark.parametrize(
    ("url_path", "route"),
    [
        ("/api/v1/optim_step", "/api/v1/optim_step"),
        ("/services/tinker-prod/api/v1/asample", "/api/v1/asample"),
        ("/api/v1/training_runs", "/api/v1/training_runs"),
        ("/api/v1/training_runs/a:train:0", "/api/v1/training_runs/{id}"),
        ("/api/v1/training_runs/a/checkpoints", "/api/v1/training_runs/{id}/checkpoints"),
        ("/api/v1/training_runs/a/checkpoints/weights/0001/ttl", "/api/v1/training_runs/{id}/checkpoints/{id}/ttl"),
        ("/api/v1/sessions/5d2/finish", "/api/v1/sessions/{id}/finish"),
        ("/api/v1/sessions/search", "/api/v1/sessions/search"),
        ("/api/v1/samplers/s:1", "/api/v1/samplers/{id}"),
        ("/api/v1/client/config", "/api/v1/client/config"),
    ],
)
def test_ids_are_taken_out_of_a_path(url_path: str, route: str) -> None:
    found = route_of(url_path)
    assert found is not None and found.path == route


def test_what_is_none_of_tinkers_is_no_route() -> None:
    assert route_of("/v1/chat/completions") is None


def test_a_session_that_ends_names_itself() -> None:
    found = route_of("/api/v1/sessions/5d2/finish")
    assert found is not None and (found.kind, found.session_id) == ("session_finish", "5d2")
