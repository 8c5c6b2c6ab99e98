"""A valid request is refused with 422 only for what no schema can say."""

import schemathesis

# What the hub refuses in these is a rule beside the schema: a cursor is spelled by the hub and belongs to one list, a time
# zone is one of IANA's, a name is one that can be seen, a URL has an ASCII host, a key expires in the future.
MEMBERS = {"cursor", "name", "time_zone", "return_url", "expires_at"}


@schemathesis.check
def refused_for_what_no_schema_says(ctx, response, case):
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    if problem["code"] == "idempotency_key_reused":  # the body that it first came with is the hub's memory
        return
    if isinstance(case.body, dict) and all(value is None for value in case.body.values()):
        return  # a change of nothing, which counts as no member
    member = problem["detail"].split(":")[0]
    if member not in MEMBERS:
        raise AssertionError(f"A valid request was refused for what the schema should say: {problem['detail']}")
