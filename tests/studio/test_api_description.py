"""The API does what its OpenAPI description says, whatever is sent to it."""

import re

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from tests.studio.conftest import Studio

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
_STARTS_PROCESSES = re.compile("^/api/training/(start|continue|stop|use)")


def test_every_answer_is_one_that_is_described(studio: Studio) -> None:
    description = schemathesis.openapi.from_url(f"{studio.address}/api/openapi.json")
    tried = set()
    for found in description.get_all_operations():
        operation = found.ok()
        if _STARTS_PROCESSES.match(operation.path):
            continue

        @given(case=operation.as_strategy())
        @settings(
            max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def check(case: Case) -> None:
            case.call_and_validate(checks=CHECKS)
            tried.add(case.operation.path)

        check()
    assert {"/api/media", "/api/sample", "/api/denoise", "/api/jobs/{job}", "/api/training/files"} <= tried
