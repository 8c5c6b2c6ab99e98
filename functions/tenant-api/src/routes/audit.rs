//! The audit log.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::{
    ids,
    model::audit::{AUDIT_ID_PREFIX, Actor, AuditEntry},
    problem::Problem,
    services::Services,
    store::audit::AuditFilter,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::Caller,
    extract::{Page, Query, checked_filter, checked_limit, decode_key_cursor, timestamp_ms},
    plain_errors::optional_timestamp,
};

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Not before: RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "optional_timestamp")]
    from: Option<Timestamp>,
    /// Not after: RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "optional_timestamp")]
    to: Option<Timestamp>,
    /// By whom: an actor's id.
    #[param(min_length = 1)]
    actor: Option<String>,
    /// What was done: `key.created` for one.
    #[param(min_length = 1)]
    operation: Option<String>,
    /// How many at most: 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// One thing that somebody did.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry, example = json!({
    "id": "aud_01jd3v6m5s8qk2x9w4r7t0y1za", "at": "2026-01-15T08:30:00.120Z",
    "actor": {"type": "key", "id": "key_01jd3v6m5s8qk2x9w4r7t0y1za"}, "operation": "reply_rules.replaced",
    "target": "wx5a1b2c3d4e5f6071", "outcome": "succeeded"
}))]
pub struct AuditEntryState {
    /// `aud_…`
    id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who.
    actor: Actor,
    /// What: `account.authorized`, `account.authorized_elsewhere`, `account.deleted`, `account.permissions_gained`,
    /// `account.permissions_lost`, `account.released`, `binding.created`, `binding.deleted`, `import.started`, `key.created`,
    /// `key.revoked`, `queue.dead_letters_listed`, `queue.redriven`, `reply_rules.replaced`, `tenant.activated`,
    /// `tenant.changed`, `tenant.created`, `tenant.deleted`, `tenant.key_created_by_operator`,
    /// `tenant.key_revoked_by_operator`, `tenant.suspended`; more may come.
    operation: String,
    /// On what: an id.
    target: String,
    /// `succeeded`, or the code of the problem that was answered. `started` where nobody could write how it ended: it
    /// may have happened.
    outcome: String,
}

/// List what was done
///
/// Who changed what, newest first, for 400 days: your keys, and what the operator did to this tenant. Reading is not in
/// it, nor is sending, of which each message keeps its own record. With the operator's key: what the operator did. A
/// page may be short, even empty, although there is more.
#[utoipa::path(get, path = "/v1/audit", tag = "Keys", params(AuditQuery),
    responses((status = 200, description = "A page of entries", body = Page<AuditEntryState>)))]
pub async fn list_audit(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntryState>>, Problem> {
    let wanted = AuditFilter {
        from: query.from.map(Timestamp::as_millisecond),
        to: query.to.map(Timestamp::as_millisecond),
        actor: checked_filter("actor", query.actor.as_deref())?,
        operation: checked_filter("operation", query.operation.as_deref())?,
    };
    let before = decode_key_cursor(query.cursor.as_deref())?;
    if before.as_ref().is_some_and(|id| !id.starts_with(AUDIT_ID_PREFIX) || ids::unix_ms_of(id).is_none()) {
        return Err(Problem::invalid("cursor: must be a `next_cursor` of the same list"));
    }
    let limit = checked_limit(query.limit)? as usize;
    let (found, next) = app.store.audit().list(&caller.tenant, wanted, limit, before.as_deref()).await?;
    Ok(Page::by_key(found, next, to_api))
}

fn to_api(entry: AuditEntry) -> AuditEntryState {
    AuditEntryState {
        id: entry.id,
        at: timestamp_ms(entry.at),
        actor: entry.actor,
        operation: entry.operation,
        target: entry.target,
        outcome: entry.outcome,
    }
}
