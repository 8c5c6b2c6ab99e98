//! The problems of a request whose key does not open what it asks for: 401 and 403.

use http::StatusCode;
use shared::{model::scope::Scope, problem::Problem};

/// 401.
pub fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "Send your API key as `Authorization: Bearer KEY`; there was none, or this one opens nothing: it is unknown, \
         was revoked or has ended.",
    )
}

/// 403 for a key of the wrong kind.
pub fn forbidden(detail: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

/// 403 for every key of a suspended tenant.
pub fn tenant_suspended() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "tenant_suspended",
        "The operator of this hub has suspended this tenant. What is pushed to its accounts is stored; nothing is sent.",
    )
}

/// 403 for a key without `scope`.
pub fn scope_missing(scope: Scope) -> Problem {
    let name = scope.name();
    Problem::new(
        StatusCode::FORBIDDEN,
        "scope_missing",
        format!("This key does not have the scope `{name}`, which this needs."),
    )
    .with("scope", name)
}
