//! The audit log: an entry is written before each operation that changes something, its outcome afterwards.
//!
//! Reads are not recorded: they change nothing and each entry would cost a write (except the operator's look
//! at dead letters, which is rare). Each request leaves a log line instead (`auth`). Sending is not recorded
//! either: a message is its own record, with time and outcome, kept for 90 days.

use futures::future::join_all;
use shared::{
    ids,
    model::audit::{AuditEntry, PLATFORM_TENANT, STARTED, SUCCEEDED},
    problem::Problem,
    services::Services,
};

use crate::caller::Caller;

/// Runs `work` and records it in `log_owner`'s audit log, and in the platform's if the operator calls. If the
/// entry cannot be written, `work` does not start.
pub async fn audited<T>(
    app: &Services,
    caller: &Caller,
    log_owner: &str,
    operation: &str,
    target: &str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let id = caller.new_id(app, shared::model::audit::AUDIT_ID_PREFIX);
    let entry = AuditEntry {
        at: ids::unix_ms_of(&id).unwrap_or_else(|| app.clock.now().as_millisecond()),
        id,
        actor: caller.actor.clone(),
        operation: operation.to_owned(),
        target: target.to_owned(),
        outcome: STARTED.to_owned(),
    };
    let mut logs = vec![log_owner];
    if caller.is_operator() && log_owner != PLATFORM_TENANT {
        logs.push(PLATFORM_TENANT);
    }
    let begun = join_all(logs.iter().map(|log| app.store.audit().begin(log, &entry))).await;
    begun.into_iter().collect::<Result<Vec<_>, _>>()?;
    let done = work.await;
    let outcome = match &done {
        Ok(_) => SUCCEEDED,
        Err(problem) => problem.code.as_str(),
    };
    let ended = join_all(logs.iter().map(|log| app.store.audit().end(log, &entry, outcome))).await;
    for error in ended.into_iter().filter_map(Result::err) {
        // the operation has happened; the entry keeps the outcome `started`
        tracing::warn!(%error, "the outcome of an audit entry could not be written: {error}");
    }
    done
}
