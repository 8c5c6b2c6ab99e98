//! Operations that change something are on record: the entry is written before the operation, its outcome after it.
//!
//! What only reads is not in it: it changes nothing, is most of the traffic, and would cost a write each (the operator's look
//! at dead letters, which is rare, is). Each request leaves a line in the log instead (`guard`). Neither is
//! sending: a message is a record of its own, with its time and outcome, kept for 90 days.

use futures::future::join_all;
use shared::{
    app::App,
    ids,
    problem::Problem,
    store::audit::{AuditEntry, PLATFORM, STARTED, SUCCEEDED},
};

use crate::caller::Caller;

/// Does `work` on record: in the log of `of`, and in the platform's where the operator does it. Where the entry cannot
/// be written, `work` is not begun.
pub async fn audited<T>(
    app: &App,
    caller: &Caller,
    of: &str,
    operation: &str,
    target: &str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    let id = caller.new_id(app, shared::store::audit::PREFIX);
    let entry = AuditEntry {
        at: ids::millisecond_of(&id).unwrap_or_else(|| app.clock.now().as_millisecond()),
        id,
        actor: caller.actor.clone(),
        operation: operation.to_owned(),
        target: target.to_owned(),
        outcome: STARTED.to_owned(),
    };
    let mut logs = vec![of];
    if caller.is_operator() && of != PLATFORM {
        logs.push(PLATFORM);
    }
    let begun = join_all(logs.iter().map(|log| app.store.audit(log, &entry))).await;
    begun.into_iter().collect::<Result<Vec<_>, _>>()?;
    let done = work.await;
    let outcome = match &done {
        Ok(_) => SUCCEEDED,
        Err(problem) => problem.code.as_str(),
    };
    let ended = join_all(logs.iter().map(|log| app.store.end_audit(log, &entry, outcome))).await;
    for error in ended.into_iter().filter_map(Result::err) {
        // what was done stays done, and on record as begun
        tracing::warn!(%error, "the outcome of an audit entry could not be written: {error}");
    }
    done
}
