//! One round of messages, each to another fan: contexts, decisions, leases, calls to WeChat, records.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use serde_json::Value;
use shared::{
    deadline::Deadline,
    error::Error,
    quota,
    secret::Secret,
    services::Services,
    store::{
        message_leases::{LeaseAttempt, MESSAGE_LEASE_SECONDS},
        messages::{Channel, EndedMessage, MessageError, MessageRecord},
    },
    tokens::{self, OnBehalfOf, RefreshReason},
    wechat::{ApiError, errcode::ErrcodeClass, transport::MAX_CALL_DURATION},
};

use crate::{
    account_context::{self, AccountContext, AccountKey},
    admission::{Admission, StoredState, admit, next_attempt_in_window, retry_wait},
    channel_choice::ChannelChoice,
    fair_share::FairShare,
    lease::{self, LeaseResult, MessageLease, RetakeResult, SendDecision},
    park::{self, Parked},
    record,
    retry_policy::{
        NextAttempt, SendFailureAction, action_for_quota, action_out_of_time, action_without_token, backoff,
        failure_action, next_resend, outcome_unknown,
    },
    work::Work,
};

/// The time that is kept for the records after the last call of a round.
const RECORD_TIME: Duration = Duration::from_millis(1_500);
/// The time that a round needs if all goes well: one call, and the records.
pub const ROUND_TIME: Duration =
    Duration::from_millis(MAX_CALL_DURATION.as_millis() as u64 + RECORD_TIME.as_millis() as u64);

/// The longest round, a little shorter than its leases.
const MAX_ROUND_TIME: Duration = Duration::from_secs(MESSAGE_LEASE_SECONDS.unsigned_abs() - 2);

/// The result of a message in this round.
#[derive(Debug)]
pub enum SendResult {
    /// It had ended before.
    AlreadyEnded,
    /// It ended now: record that.
    Record(Box<EndedMessage>),
    /// It waits in a timer: its job is done.
    Parked,
    /// Not done: deliver its job again after this long, for this reason.
    Retry(Duration, String),
}

/// A running send, with the message's index in the round.
type PendingSend<'a> = BoxFuture<'a, (usize, SendResult)>;
/// A message of the round whose stored state is readable, with its index.
type ReadableMessage<'a> = (usize, &'a Work, &'a StoredState);

/// Sends `works`, no two of which may be for one fan. Returns for each [`None`] when its job is done, and
/// otherwise the wait and the reason. Begins only where `until` allows a [`ROUND_TIME`].
pub async fn send_round(
    app: &Services,
    shares: &FairShare,
    mut works: Vec<Work>,
    until: Deadline,
) -> Vec<Option<(Duration, String)>> {
    if works.is_empty() {
        return Vec::new();
    }
    // never longer than the leases, which another worker may retake after that
    let until = until.min(Deadline::after(&*app.clock, MAX_ROUND_TIME));
    let context = match account_context::read_send_context(app, &works).await {
        Ok(context) => context,
        Err(error) => {
            tracing::warn!(%error, "messages have to wait for the database: {error}");
            return works
                .iter()
                .map(|work| Some((retry_wait(&error, work.receive_count), error.to_string())))
                .collect();
        }
    };
    let deferred_tenant = shares.tenant_to_defer(app, &works).await;
    let deferred_tenant = deferred_tenant.as_deref();
    let stored_states: Vec<_> = works.iter_mut().map(|work| StoredState::read(&context, work)).collect();
    let works = works;
    let mut account_contexts = account_context::account_contexts(app, &works, &context).await;
    let mut ended_early: Vec<PendingSend<'_>> = Vec::new();
    let mut accounts: BTreeMap<AccountKey<'_>, Vec<ReadableMessage<'_>>> = BTreeMap::new();
    for (n, (work, about)) in works.iter().zip(&stored_states).enumerate() {
        let unknown = match (about, account_contexts.get(&work.account_key())) {
            (Ok(about), Some(Ok(_))) => {
                accounts.entry(work.account_key()).or_default().push((n, work, about));
                continue;
            }
            (Err(error), _) | (_, Some(Err(error))) => error.to_string(),
            (_, None) => "nothing is known of its account".to_owned(),
        };
        tracing::error!(message_id = work.id, app_id = work.app_id, "a message has to wait: {unknown}");
        let end = SendResult::Retry(backoff(work.receive_count), unknown);
        ended_early.push(Box::pin(async move { (n, end) }));
    }
    // Accounts whose token is at hand go together; one whose token must be fetched delays only itself.
    let (mut at_once, mut apart) = (Vec::new(), Vec::new());
    for (key, ready) in accounts {
        if let Some(Ok(account)) = account_contexts.remove(&key) {
            if account.needs_token_refresh { &mut apart } else { &mut at_once }.push((key, account, ready));
        }
    }
    let groups = std::iter::once(at_once).chain(apart.into_iter().map(|account| vec![account]));
    let mut in_flight: Vec<_> = groups
        .map(|group| {
            stream::once(begin_sends(app, group, deferred_tenant, until)).flat_map(concurrently).boxed()
        })
        .collect();
    in_flight.push(concurrently(ended_early).boxed());
    let lines: Vec<_> = works
        .iter()
        .zip(&stored_states)
        .map(|(work, about)| (work, about.as_ref().map(|about| about.lines.as_slice()).unwrap_or_default()))
        .collect();
    record::record_as_they_end(app, &lines, stream::select_all(in_flight)).await
}

fn concurrently(flights: Vec<PendingSend<'_>>) -> FuturesUnordered<PendingSend<'_>> {
    flights.into_iter().collect()
}

/// Decides how to start with the messages of some accounts, and leases the new ones in one request.
async fn begin_sends<'a>(
    app: &'a Services,
    accounts: Vec<(AccountKey<'a>, AccountContext, Vec<ReadableMessage<'a>>)>,
    deferred_tenant: Option<&'a str>,
    until: Deadline,
) -> Vec<PendingSend<'a>> {
    let mut starts = Vec::new();
    for ((tenant, app_id), mut account, ready) in accounts {
        if account.needs_token_refresh {
            let whose = OnBehalfOf::Tenant(tenant);
            let token = tokens::authorizer_token(
                app,
                whose,
                app_id,
                RefreshReason::Expired,
                until.earlier_by(ROUND_TIME),
            )
            .await;
            account.token = Some(token);
        }
        let account = Arc::new(account);
        starts.extend(ready.into_iter().map(|(n, work, about)| {
            let start = admit(app, work, about, &account, deferred_tenant == Some(tenant));
            (n, work, about, Arc::clone(&account), start)
        }));
    }
    let untried: Vec<(&Work, &AccountContext, ChannelChoice)> = starts
        .iter()
        .filter_map(|(_, work, _, account, start)| match start {
            Admission::LeaseUntried(plan) => Some((*work, account.as_ref(), *plan)),
            _ => None,
        })
        .collect();
    let leases = lease::lease_untried(app, &untried).await;
    if let Err(error) = &leases {
        tracing::warn!(%error, "messages could not be taken: {error}");
    }
    let (mut leases, refused) = match leases {
        Ok(claims) => (claims.into_iter(), None),
        Err(error) => (Vec::new().into_iter(), Some(error)),
    };
    let mut flights: Vec<PendingSend<'a>> = Vec::with_capacity(starts.len());
    for (n, work, about, account, start) in starts {
        let first_step = match (start, &refused) {
            (Admission::Finish(end), _) => FirstStep::Finish(end),
            (Admission::Park(parked), _) => FirstStep::Park(parked),
            (Admission::Retake, _) => FirstStep::Send(None, about.message.clone()),
            (Admission::LeaseUntried(_), Some(error)) => {
                FirstStep::Finish(SendResult::Retry(retry_wait(error, work.receive_count), error.to_string()))
            }
            (Admission::LeaseUntried(plan), None) => match leases.next() {
                Some(claimed) => FirstStep::Send(Some((claimed, plan)), None),
                None => FirstStep::Finish(SendResult::Retry(
                    backoff(work.receive_count),
                    "answers are missing".to_owned(),
                )),
            },
        };
        flights.push(Box::pin(async move {
            let result = match first_step {
                FirstStep::Finish(end) => Ok(end),
                FirstStep::Park(parked) => park::park(app, work, parked).await.map(|()| SendResult::Parked),
                FirstStep::Send(claimed, seen) => send_one(app, work, &account, claimed, seen, until).await,
            };
            let end = result.unwrap_or_else(|error| {
                tracing::warn!(message_id = work.id, %error, "a message has to wait: {error}");
                SendResult::Retry(retry_wait(&error, work.receive_count), error.to_string())
            });
            (n, end)
        }));
    }
    flights
}

/// What a message needs next, once the round's request has leased the new ones.
enum FirstStep {
    Finish(SendResult),
    Park(Parked),
    Send(Option<(LeaseResult, ChannelChoice)>, Option<Box<MessageRecord>>),
}

/// Sends one message. `claimed` is what the round's request did for it; [`None`] for a job that was received
/// before, whose record is `seen`.
async fn send_one(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    claimed: Option<(LeaseResult, ChannelChoice)>,
    seen: Option<Box<MessageRecord>>,
    until: Deadline,
) -> Result<SendResult, Error> {
    let is_first = claimed.is_some();
    let now = app.clock.unix();
    let (used, seen) = match claimed {
        Some((LeaseResult { owner, attempt: LeaseAttempt::Acquired, window_used: used }, plan)) => {
            let decision =
                if used { SendDecision::Send(Channel::CustomerService) } else { SendDecision::from(plan) };
            // If the send could not be counted in its window, the channel is chosen again below.
            (used, Ok(MessageLease { owner, decision, may_have_happened: false, first_try_at: now }))
        }
        Some((LeaseResult { owner, attempt: LeaseAttempt::Failed(error), .. }, _)) => {
            // The lease may still have been written; nothing was sent.
            lease::release(app, work, owner, false).await;
            return Err(error);
        }
        Some((LeaseResult { attempt: LeaseAttempt::AlreadyTaken(seen), window_used: used, .. }, _)) => {
            (used, Err(seen))
        }
        None => (false, Err(seen)),
    };
    let mut lease = match seen {
        Ok(held) => held,
        Err(seen) => match lease::retake(app, work, account, used, seen.map(|seen| *seen)).await? {
            RetakeResult::Ended => return Ok(SendResult::AlreadyEnded),
            RetakeResult::Busy(wait) => {
                return Ok(SendResult::Retry(wait, "another worker has it".to_owned()));
            }
            RetakeResult::Leased(held) => held,
        },
    };
    if let SendDecision::UseWindow(kind) = lease.decision {
        let known = (!is_first).then_some(kind);
        match lease::take_window_send(app, work, account, lease.owner, known).await {
            Ok(way) => lease.decision = way,
            Err(error) => {
                lease::release(app, work, lease.owner, false).await;
                return Err(error);
            }
        }
    }
    match lease.decision {
        SendDecision::Send(channel) => send_by_channel(app, work, account, &lease, channel, until).await,
        SendDecision::Refuse(why) => {
            let (code, detail) = why.code_and_hint();
            let error = MessageError { code: code.into(), errcode: None, detail: detail.into() };
            Ok(work.failed(app, &lease, None, error))
        }
        SendDecision::Unknown | SendDecision::UseWindow(_) => {
            Ok(work.failed(app, &lease, None, outcome_unknown(None)))
        }
    }
}

/// Calls WeChat by `channel`, then by the template if the window turns out to be closed.
async fn send_by_channel(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    lease: &MessageLease,
    mut channel: Channel,
    until: Deadline,
) -> Result<SendResult, Error> {
    let template = account.capabilities.template && work.template.is_some();
    loop {
        let action = match account.quota_refusal(channel, app.clock.unix()) {
            Some(refusal) => action_for_quota(refusal),
            None => match call_with_token(app, work, account, channel, until).await {
                Ok(wechat_msg_id) => return Ok(work.sent(app, lease, channel, wechat_msg_id)),
                Err(CallError::NotCalled(action)) => action,
                Err(CallError::Api(error)) => {
                    match quota::remember_refusal(
                        app,
                        &work.app_id,
                        account_context::channel_api(channel),
                        &error,
                    )
                    .await
                    {
                        Some(refusal) => action_for_quota(refusal),
                        None => failure_action(channel, &error, template),
                    }
                }
            },
        };
        match action {
            // Happens once at most: a template needs no window.
            SendFailureAction::UseTemplate => {
                if let Err(error) = lease::switch_to_template(app, work, lease.owner).await {
                    lease::release(app, work, lease.owner, false).await;
                    return Err(error);
                }
                channel = Channel::Template;
            }
            SendFailureAction::Fail(error) => return Ok(work.failed(app, lease, Some(channel), error)),
            SendFailureAction::Retry { reason: why, may_have_happened, error } => {
                let said = error.code.clone();
                let maybe = may_have_happened || lease.may_have_happened;
                let lease = MessageLease { may_have_happened: maybe, ..*lease };
                let when = match maybe {
                    true => next_resend(why, lease.first_try_at, app.clock.now().as_millisecond()),
                    false => next_attempt_in_window(app, work, account, &why, channel),
                };
                if when == NextAttempt::GiveUp {
                    return Ok(work.failed(app, &lease, Some(channel), error));
                }
                tracing::debug!(message_id = work.id, code = error.code, errcode = error.errcode, "again");
                if lease::release(app, work, lease.owner, maybe).await.is_none() {
                    return Ok(SendResult::Retry(backoff(work.receive_count), said));
                }
                return match when {
                    NextAttempt::ByTimer(due) => {
                        let parked = Parked { channel, due, leads: true };
                        park::park(app, work, parked).await.map(|()| SendResult::Parked)
                    }
                    NextAttempt::InQueue(wait) => Ok(SendResult::Retry(wait, said)),
                    NextAttempt::GiveUp => Ok(SendResult::Retry(backoff(work.receive_count), said)),
                };
            }
        }
    }
}

/// Why a call failed.
enum CallError {
    /// WeChat was not called: there is no token, or no time.
    NotCalled(SendFailureAction),
    /// WeChat refused, or did not answer.
    Api(ApiError),
}

/// Calls WeChat, and again with a new token where it refuses the old one, if there is time.
async fn call_with_token(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    channel: Channel,
    until: Deadline,
) -> Result<Option<String>, CallError> {
    let token = match &account.token {
        Some(Ok(token)) => token.clone(),
        Some(Err(error)) => return Err(CallError::NotCalled(action_without_token(error))),
        None => new_token(app, work, RefreshReason::Expired, until).await?,
    };
    match call_wechat(app, work, channel, &token, until).await {
        Err(CallError::Api(error)) if error.class() == ErrcodeClass::Token => {
            let token = new_token(app, work, RefreshReason::Refused(&token), until).await?;
            call_wechat(app, work, channel, &token, until).await
        }
        answer => answer,
    }
}

async fn new_token(
    app: &Services,
    work: &Work,
    why: RefreshReason<'_>,
    until: Deadline,
) -> Result<Secret, CallError> {
    let whose = OnBehalfOf::Tenant(&work.tenant_id);
    let token = tokens::authorizer_token(app, whose, &work.app_id, why, until.earlier_by(ROUND_TIME)).await;
    token.map_err(|error| CallError::NotCalled(action_without_token(&error)))
}

async fn call_wechat(
    app: &Services,
    work: &Work,
    channel: Channel,
    token: &Secret,
    until: Deadline,
) -> Result<Option<String>, CallError> {
    const NOTHING: Value = Value::Null;
    if !until.allows(&*app.clock, ROUND_TIME) {
        return Err(CallError::NotCalled(action_out_of_time()));
    }
    match channel {
        Channel::CustomerService => {
            let content = work.content.as_ref().unwrap_or(&NOTHING);
            app.wechat.custom_send(token, &work.to, content).await.map(|()| None)
        }
        Channel::Template => {
            let template = work.template.as_ref().unwrap_or(&NOTHING);
            app.wechat.template_send(token, &work.to, template, &work.id).await.map(Some)
        }
    }
    .map_err(CallError::Api)
}
