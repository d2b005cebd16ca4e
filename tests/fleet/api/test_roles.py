"""Each endpoint needs its role. The endpoints are those of the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi.routing import APIRoute

from helpers.fleet.data import NOON, add_device
from maskedge_fleet.access.tokens import ROLES
from maskedge_fleet.api.app import API, ROUTERS
from maskedge_fleet.database.tables import Token

from .conftest import Api

OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),  # from this machine only
    ("POST", "/api/v1/session"),  # its body has the token
    ("DELETE", "/api/v1/session"),  # it only deletes a cookie
    ("GET", "/api/v1/models/{sha256}/file"),  # its address is signed
}
"""Endpoints without a role."""
NEEDED = {
    ("GET", "/session"): "viewer",
    ("GET", "/summary"): "viewer",
    ("GET", "/devices"): "viewer",
    ("GET", "/devices/{name}"): "viewer",
    ("PATCH", "/devices/{name}"): "operator",
    ("DELETE", "/devices/{name}"): "admin",
    ("GET", "/cameras/{device}/{camera}/snapshot"): "operator",
    ("GET", "/sites"): "viewer",
    ("POST", "/sites"): "operator",
    ("PATCH", "/sites/{name}"): "operator",
    ("DELETE", "/sites/{name}"): "operator",
    ("GET", "/counts"): "viewer",
    ("GET", "/events"): "viewer",
    ("GET", "/alerts"): "viewer",
    ("POST", "/alerts/{number}/acknowledge"): "operator",
    ("GET", "/tokens"): "admin",
    ("POST", "/tokens"): "admin",
    ("DELETE", "/tokens/{name}"): "admin",
    ("GET", "/audit"): "admin",
    ("GET", "/rejects"): "operator",
    ("GET", "/live"): "viewer",
}
"""Roles of the endpoints below /api/v1."""


def _role(dependant: Any) -> str | None:
    """Return the role that the dependencies of an endpoint check."""
    for inner in dependant.dependencies:
        role = getattr(inner.call, "role", None) or _role(inner)
        if role is not None:
            return str(role)
    return None


def _roles() -> dict[tuple[str, str], str | None]:
    """Return the role of each endpoint of the routers below /api/v1."""
    return {
        (method, route.path): _role(route.dependant)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }


def _endpoints(api: Api) -> Iterator[tuple[str, str]]:
    document = api.client.get(f"{API}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


def test_every_endpoint_of_the_document_has_a_role_or_is_open(api: Api) -> None:
    roles = {(method, f"{API}{path}"): role for (method, path), role in _roles().items()}
    assert {endpoint for endpoint in _endpoints(api) if roles.get(endpoint) is None} <= OPEN
    assert {endpoint: roles[endpoint[0], f"{API}{endpoint[1]}"] for endpoint in NEEDED} == NEEDED


def test_no_endpoint_is_reached_without_its_role(api: Api) -> None:
    roles = {(method, f"{API}{path}"): role for (method, path), role in _roles().items()}
    endpoints = [endpoint for endpoint in _endpoints(api) if endpoint not in OPEN]
    assert len(endpoints) >= len(NEEDED)
    for method, path in endpoints:
        needed = roles[method, path]
        assert needed is not None
        concrete = re.sub(r"\{\w+\}", "1", path).removeprefix(API)
        assert api(method, concrete, None).status_code == 401, (method, path)
        for role in ROLES[: ROLES.index(needed)]:
            status, sentence = api.error(method, concrete, role)
            assert (status, needed in sentence) == (403, True), (method, path, role)


def test_endpoints_answer_callers_with_their_role(api: Api) -> None:
    for (method, path), needed in NEEDED.items():
        if path == "/live":
            continue  # its answer does not end
        concrete = re.sub(r"\{\w+\}", "1", path)
        for role in ROLES[ROLES.index(needed) :]:
            assert api(method, concrete, role).status_code not in (401, 403, 405, 500), (method, path, role)


def test_unknown_and_malformed_tokens_are_refused(api: Api) -> None:
    secret = api.tokens["viewer"]
    wrong = [
        f"Bearer {secret[:20]}{'B' if secret[20] == 'A' else 'A'}{secret[21:]}",
        f"Bearer {secret[:-1]}",
        "Bearer mef_",
        "Bearer ' OR 1=1 --",
        "Basic dXNlcjpwYXNz",
        f"bearer{secret}",
        "Bearer " + "mef_" + "A" * 43,
        "Bearer " + "x" * 5000,
    ]
    for header in wrong:
        response = api.client.get(f"{API}/summary", headers={"Authorization": header})
        assert response.status_code in (401, 429), header
        assert response.headers["www-authenticate"].startswith("Bearer")
        assert secret[10:20] not in response.text


def test_a_revoked_token_is_refused_from_the_next_request_on(api: Api) -> None:
    assert api("GET", "/summary", "viewer").status_code == 200
    assert api("DELETE", "/tokens/viewer").status_code == 204
    assert api.error("GET", "/summary", "viewer")[0] == 401
    assert api("DELETE", "/tokens/viewer").status_code == 204
    assert api.error("DELETE", "/tokens/nobody")[0] == 404


def test_an_expired_token_is_refused(api: Api) -> None:
    secret = api("POST", "/tokens", json={"name": "guest", "role": "viewer", "days": 1}).json()["token"]
    headers = {"Authorization": f"Bearer {secret}"}
    assert api.client.get(f"{API}/summary", headers=headers).status_code == 200
    with api.session() as session:
        session.query(Token).filter_by(name="guest").update({"expires": NOON.replace(year=2020)})
        session.commit()
    assert api.client.get(f"{API}/summary", headers=headers).status_code == 401


def test_every_change_is_in_the_audit_log(api: Api) -> None:
    with api.session() as session:
        add_device(session, "door")
        session.commit()
    api("POST", "/sites", "operator", json={"name": "Shop"})
    api("PATCH", "/sites/Shop", "operator", json={"name": "Shop 1"})
    api("PATCH", "/devices/door", "operator", json={"site": "Shop 1", "group": "blue"})
    api("POST", "/tokens", json={"name": "guest", "role": "viewer"})
    api("DELETE", "/tokens/guest")
    api("DELETE", "/devices/door")
    api("DELETE", "/sites/Shop 1", "operator")
    api("DELETE", "/sites/Shop 1", "operator")  # it is gone: no change
    rows = api.get("/audit", "admin")["items"]
    assert [(row["token"], row["action"], row["target"]) for row in reversed(rows)] == [
        ("operator", "site.create", "Shop"),
        ("operator", "site.rename", "Shop"),
        ("operator", "device.change", "door"),
        ("admin", "token.create", "guest"),
        ("admin", "token.revoke", "guest"),
        ("admin", "device.delete", "door"),
        ("operator", "site.delete", "Shop 1"),
    ]
    assert rows[-3]["details"] == {"site": "Shop 1", "group": "blue"}
    assert "mef_" not in str(rows)
    assert [row["action"] for row in api.get("/audit", "admin", action="site.create")["items"]] == ["site.create"]
