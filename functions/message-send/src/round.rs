//! One round of messages, each to another fan: contexts, decisions, leases; then each is sent by itself, and
//! how they end is recorded together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use shared::{
    deadline::Deadline,
    retry::{self, backoff},
    services::Services,
    store::message_leases::MESSAGE_LEASE_SECONDS,
    tokens::{self, OnBehalfOf, RefreshReason},
};
use tracing::Instrument;

use crate::{
    account_context::{self, AccountContext},
    admission::{StoredState, admit},
    call::ROUND_TIME,
    fair_share::FairShare,
    lease::{self, Start},
    record, send,
    states::{JobEnd, SendResult},
    work::{AccountKey, Work},
};

/// The longest round, a little shorter than its leases.
const MAX_ROUND_TIME: Duration = Duration::from_secs(MESSAGE_LEASE_SECONDS.unsigned_abs() - 2);

/// A running send, with the message's index in the round.
type PendingSend<'a> = BoxFuture<'a, (usize, SendResult)>;
/// A message of the round whose stored state is readable, with its index.
type ReadableMessage<'a> = (usize, &'a Work, &'a StoredState);
/// An account, and its messages in the round.
type AccountMessages<'a> = (AccountKey<'a>, AccountContext, Vec<ReadableMessage<'a>>);

/// Sends `works`, no two of which may be for one fan. Returns for each what becomes of its job. Begins only
/// where `until` allows a [`ROUND_TIME`].
pub async fn send_round(
    app: &Services,
    shares: &FairShare,
    mut works: Vec<Work>,
    until: Deadline,
) -> Vec<JobEnd> {
    if works.is_empty() {
        return Vec::new();
    }
    // never longer than the leases, which another worker may retake after that
    let until = until.min(Deadline::after(&*app.clock, MAX_ROUND_TIME));
    let context = match account_context::read_send_context(app, &works).await {
        Ok(context) => context,
        Err(error) => {
            tracing::warn!(%error, "messages have to wait for the database: {error}");
            let again =
                |work: &Work| JobEnd::Again(retry::wait(&error, work.receive_count), error.to_string());
            return works.iter().map(again).collect();
        }
    };
    let deferred_tenant = shares.tenant_to_defer(app, &works).await;
    let deferred_tenant = deferred_tenant.as_deref();
    let stored_states: Vec<_> = works.iter_mut().map(|work| StoredState::read(&context, work)).collect();
    let works = works;
    let mut account_contexts = account_context::account_contexts(app, &works, &context).await;
    let mut unreadable: Vec<PendingSend<'_>> = Vec::new();
    let mut accounts: BTreeMap<AccountKey<'_>, Vec<ReadableMessage<'_>>> = BTreeMap::new();
    for (index, (work, stored)) in works.iter().zip(&stored_states).enumerate() {
        let why = match (stored, account_contexts.get(&work.account_key())) {
            (Ok(stored), Some(Ok(_))) => {
                accounts.entry(work.account_key()).or_default().push((index, work, stored));
                continue;
            }
            (Err(error), _) | (_, Some(Err(error))) => error.to_string(),
            (_, None) => "nothing is known of its account".to_owned(),
        };
        tracing::error!(parent: &work.span, "a message has to wait: {why}");
        let result = SendResult::Retry(backoff(work.receive_count), why);
        unreadable.push(Box::pin(async move { (index, result) }));
    }
    // Accounts whose token is at hand go together; one whose token must be fetched delays only itself.
    let (mut at_once, mut apart) = (Vec::new(), Vec::new());
    for (key, messages) in accounts {
        if let Some(Ok(account)) = account_contexts.remove(&key) {
            if account.needs_token_refresh { &mut apart } else { &mut at_once }
                .push((key, account, messages));
        }
    }
    let groups = std::iter::once(at_once).chain(apart.into_iter().map(|account| vec![account]));
    let mut in_flight: Vec<_> = groups
        .map(|group| {
            stream::once(begin_sends(app, group, deferred_tenant, until)).flat_map(concurrently).boxed()
        })
        .collect();
    in_flight.push(concurrently(unreadable).boxed());
    let messages: Vec<_> = works
        .iter()
        .zip(&stored_states)
        .map(|(work, stored)| {
            (work, stored.as_ref().map(|stored| stored.lines.as_slice()).unwrap_or_default())
        })
        .collect();
    record::record_as_they_end(app, &messages, stream::select_all(in_flight)).await
}

fn concurrently(sends: Vec<PendingSend<'_>>) -> FuturesUnordered<PendingSend<'_>> {
    sends.into_iter().collect()
}

/// Decides how to start with the messages of some accounts, and leases the new ones in one request.
async fn begin_sends<'a>(
    app: &'a Services,
    accounts: Vec<AccountMessages<'a>>,
    deferred_tenant: Option<&'a str>,
    until: Deadline,
) -> Vec<PendingSend<'a>> {
    let mut starts = Vec::new();
    for ((tenant, app_id), mut account, messages) in accounts {
        if account.needs_token_refresh {
            let (whose, until) = (OnBehalfOf::Tenant(tenant), until.earlier_by(ROUND_TIME));
            let token = tokens::authorizer_token(app, whose, app_id, RefreshReason::Expired, until).await;
            account.token = Some(token);
        }
        let account = Arc::new(account);
        starts.extend(messages.into_iter().map(|(index, work, stored)| {
            let decision = admit(app, work, stored, &account, deferred_tenant == Some(tenant));
            Start { index, work, account: Arc::clone(&account), decision }
        }));
    }
    lease::lease_first(app, &mut starts).await;
    let sends = starts.into_iter().map(|Start { index, work, account, decision }| -> PendingSend<'a> {
        let sent = async move { (index, send::carry_out(app, work, &account, decision, until).await) };
        Box::pin(sent.instrument(work.span.clone()))
    });
    sends.collect()
}
