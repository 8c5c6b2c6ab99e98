//! One round of messages, each to another fan: contexts, decisions, leases, calls to WeChat, records.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use serde_json::Value;
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    quota,
    secret::Secret,
    store::{
        claims::{CLAIM_SECONDS, Claim},
        messages::{Channel, Ended, Message, MessageError},
    },
    tokens::{self, For, Why},
    wechat::{ApiError, errcode::ErrcodeClass, transport::CALL_LIMIT},
};

use crate::{
    begin::{About, Start, due, later, start},
    claim::{self, Again, Claimed, Held, Way},
    decide::Plan,
    ground::{self, Ground, Key},
    outcome::{
        Outcome, When, again_unless_too_late, backoff, no_token, out_of_time, outcome, quota_used_up, unknown,
    },
    park::{self, Parked},
    record,
    shares::Shares,
    work::Work,
};

/// The time that is kept for the records after the last call of a round.
const RECORD: Duration = Duration::from_millis(1_500);
/// The time that a round needs if all goes well: one call, and the records.
pub const ROUND: Duration = Duration::from_millis(CALL_LIMIT.as_millis() as u64 + RECORD.as_millis() as u64);

/// The longest round, a little shorter than its leases.
const CLAIMED: Duration = Duration::from_secs(CLAIM_SECONDS.unsigned_abs() - 2);

/// The result of a message in this round.
#[derive(Debug)]
pub enum End {
    /// It had ended before.
    Ended,
    /// It ended now: record that.
    Keep(Box<Ended>),
    /// It waits in a timer: its job is done.
    Parked,
    /// Not done: deliver its job again after this long, for this reason.
    Later(Duration, String),
}

/// A running send, with the message's index in the round.
type Flight<'a> = BoxFuture<'a, (usize, End)>;
/// A message of the round whose stored state is readable, with its index.
type Ready<'a> = (usize, &'a Work, &'a About);

/// Sends `works`, no two of which may be for one fan. Returns for each [`None`] when its job is done, and
/// otherwise the wait and the reason. Begins only where `until` allows a [`ROUND_TIME`].
pub async fn round(
    app: &App,
    shares: &Shares,
    mut works: Vec<Work>,
    until: Deadline,
) -> Vec<Option<(Duration, String)>> {
    if works.is_empty() {
        return Vec::new();
    }
    // never longer than the leases, which another worker may retake after that
    let until = until.min(Deadline::after(&*app.clock, CLAIMED));
    let context = match ground::context(app, &works).await {
        Ok(context) => context,
        Err(error) => {
            tracing::warn!(%error, "messages have to wait for the database: {error}");
            return works
                .iter()
                .map(|work| Some((later(&error, work.receives), error.to_string())))
                .collect();
        }
    };
    let put_off = shares.put_off(app, &works).await;
    let put_off = put_off.as_deref();
    let about: Vec<_> = works.iter_mut().map(|work| About::read(&context, work)).collect();
    let works = works;
    let mut grounds = ground::all(app, &works, &context).await;
    let mut ends: Vec<Flight<'_>> = Vec::new();
    let mut accounts: BTreeMap<Key<'_>, Vec<Ready<'_>>> = BTreeMap::new();
    for (n, (work, about)) in works.iter().zip(&about).enumerate() {
        let unknown = match (about, grounds.get(&work.account())) {
            (Ok(about), Some(Ok(_))) => {
                accounts.entry(work.account()).or_default().push((n, work, about));
                continue;
            }
            (Err(error), _) | (_, Some(Err(error))) => error.to_string(),
            (_, None) => "nothing is known of its account".to_owned(),
        };
        tracing::error!(message_id = work.id, app_id = work.app_id, "a message has to wait: {unknown}");
        let end = End::Later(backoff(work.receives), unknown);
        ends.push(Box::pin(async move { (n, end) }));
    }
    // Accounts whose token is at hand go together; one whose token must be fetched delays only itself.
    let (mut at_once, mut apart) = (Vec::new(), Vec::new());
    for (key, ready) in accounts {
        if let Some(Ok(ground)) = grounds.remove(&key) {
            if ground.wants_token { &mut apart } else { &mut at_once }.push((key, ground, ready));
        }
    }
    let groups = std::iter::once(at_once).chain(apart.into_iter().map(|account| vec![account]));
    let mut air: Vec<_> = groups
        .map(|group| stream::once(begin(app, group, put_off, until)).flat_map(in_the_air).boxed())
        .collect();
    air.push(in_the_air(ends).boxed());
    let lines: Vec<_> = works
        .iter()
        .zip(&about)
        .map(|(work, about)| (work, about.as_ref().map(|about| about.lines.as_slice()).unwrap_or_default()))
        .collect();
    record::as_they_land(app, &lines, stream::select_all(air)).await
}

fn in_the_air(flights: Vec<Flight<'_>>) -> FuturesUnordered<Flight<'_>> {
    flights.into_iter().collect()
}

/// Decides how to start with the messages of some accounts, and leases the new ones in one request.
async fn begin<'a>(
    app: &'a App,
    accounts: Vec<(Key<'a>, Ground, Vec<Ready<'a>>)>,
    put_off: Option<&'a str>,
    until: Deadline,
) -> Vec<Flight<'a>> {
    let mut starts = Vec::new();
    for ((tenant, app_id), mut ground, ready) in accounts {
        if ground.wants_token {
            let whose = For::Tenant(tenant);
            let token = tokens::authorizer(app, whose, app_id, Why::Use, until.less(ROUND)).await;
            ground.token = Some(token);
        }
        let ground = Arc::new(ground);
        starts.extend(ready.into_iter().map(|(n, work, about)| {
            let start = start(app, work, about, &ground, put_off == Some(tenant));
            (n, work, about, Arc::clone(&ground), start)
        }));
    }
    let fresh: Vec<(&Work, &Ground, Plan)> = starts
        .iter()
        .filter_map(|(_, work, _, ground, start)| match start {
            Start::First(plan) => Some((*work, ground.as_ref(), *plan)),
            _ => None,
        })
        .collect();
    let claims = claim::first(app, &fresh).await;
    if let Err(error) = &claims {
        tracing::warn!(%error, "messages could not be taken: {error}");
    }
    let (mut claims, refused) = match claims {
        Ok(claims) => (claims.into_iter(), None),
        Err(error) => (Vec::new().into_iter(), Some(error)),
    };
    let mut flights: Vec<Flight<'a>> = Vec::with_capacity(starts.len());
    for (n, work, about, ground, start) in starts {
        let begun = match (start, &refused) {
            (Start::Not(end), _) => Begun::Over(end),
            (Start::Park(parked), _) => Begun::Park(parked),
            (Start::Again, _) => Begun::Held(None, about.message.clone()),
            (Start::First(_), Some(error)) => {
                Begun::Over(End::Later(later(error, work.receives), error.to_string()))
            }
            (Start::First(plan), None) => match claims.next() {
                Some(claimed) => Begun::Held(Some((claimed, plan)), None),
                None => Begun::Over(End::Later(backoff(work.receives), "answers are missing".to_owned())),
            },
        };
        flights.push(Box::pin(async move {
            let flown = match begun {
                Begun::Over(end) => Ok(end),
                Begun::Park(parked) => park::park(app, work, parked).await.map(|()| End::Parked),
                Begun::Held(claimed, seen) => one(app, work, &ground, claimed, seen, until).await,
            };
            let end = flown.unwrap_or_else(|error| {
                tracing::warn!(message_id = work.id, %error, "a message has to wait: {error}");
                End::Later(later(&error, work.receives), error.to_string())
            });
            (n, end)
        }));
    }
    flights
}

/// What a message needs next, once the round's request has leased the new ones.
enum Begun {
    Over(End),
    Park(Parked),
    Held(Option<(Claimed, Plan)>, Option<Box<Message>>),
}

/// Sends one message. `claimed` is what the round's request did for it; [`None`] for a job that was received
/// before, whose record is `seen`.
async fn one(
    app: &App,
    work: &Work,
    ground: &Ground,
    claimed: Option<(Claimed, Plan)>,
    seen: Option<Box<Message>>,
    until: Deadline,
) -> Result<End, Error> {
    let is_first = claimed.is_some();
    let now = app.clock.unix();
    let (used, seen) = match claimed {
        Some((Claimed { owner, claim: Claim::Ours, used }, plan)) => {
            let way = if used { Way::Send(Channel::CustomerService) } else { Way::from(plan) };
            // If the send could not be counted in its window, the channel is chosen again below.
            (used, Ok(Held { owner, way, may_have_happened: false, since: now }))
        }
        Some((Claimed { owner, claim: Claim::Undone(error), .. }, _)) => {
            // The lease may still have been written; nothing was sent.
            claim::give_back(app, work, owner, false).await;
            return Err(error);
        }
        Some((Claimed { claim: Claim::Taken(seen), used, .. }, _)) => (used, Err(seen)),
        None => (false, Err(seen)),
    };
    let mut held = match seen {
        Ok(held) => held,
        Err(seen) => match claim::again(app, work, ground, used, seen.map(|seen| *seen)).await? {
            Again::Ended => return Ok(End::Ended),
            Again::Later(wait) => return Ok(End::Later(wait, "another worker has it".to_owned())),
            Again::Ours(held) => held,
        },
    };
    if let Way::Window(kind) = held.way {
        let known = (!is_first).then_some(kind);
        match claim::window(app, work, ground, held.owner, known).await {
            Ok(way) => held.way = way,
            Err(error) => {
                claim::give_back(app, work, held.owner, false).await;
                return Err(error);
            }
        }
    }
    match held.way {
        Way::Send(channel) => deliver(app, work, ground, &held, channel, until).await,
        Way::Refuse(why) => {
            let (code, detail) = why.words();
            let error = MessageError { code: code.into(), errcode: None, detail: detail.into() };
            Ok(work.failed(app, &held, None, error))
        }
        Way::Unknown | Way::Window(_) => Ok(work.failed(app, &held, None, unknown(None))),
    }
}

/// Calls WeChat by `channel`, then by the template if the window turns out to be closed.
async fn deliver(
    app: &App,
    work: &Work,
    ground: &Ground,
    held: &Held,
    mut channel: Channel,
    until: Deadline,
) -> Result<End, Error> {
    let template = ground.standing.template && work.template.is_some();
    loop {
        let what = match ground.refused(channel, app.clock.unix()) {
            Some(refusal) => quota_used_up(refusal),
            None => match ask(app, work, ground, channel, until).await {
                Ok(wechat_msg_id) => return Ok(work.sent(app, held, channel, wechat_msg_id)),
                Err(Problem::Token(outcome)) => outcome,
                Err(Problem::Call(error)) => {
                    match quota::note(app, &work.app_id, ground::api(channel), &error).await {
                        Some(refusal) => quota_used_up(refusal),
                        None => outcome(channel, &error, template),
                    }
                }
            },
        };
        match what {
            // Happens once at most: a template needs no window.
            Outcome::UseTemplate => {
                if let Err(error) = claim::to_template(app, work, held.owner).await {
                    claim::give_back(app, work, held.owner, false).await;
                    return Err(error);
                }
                channel = Channel::Template;
            }
            Outcome::Fail(error) => return Ok(work.failed(app, held, Some(channel), error)),
            Outcome::Again { why, may_have_happened, error } => {
                let said = error.code.clone();
                let maybe = may_have_happened || held.may_have_happened;
                let held = Held { may_have_happened: maybe, ..*held };
                let when = match maybe {
                    true => again_unless_too_late(why, held.since, app.clock.now().as_millisecond()),
                    false => due(app, work, ground, &why, channel),
                };
                if when == When::Over {
                    return Ok(work.failed(app, &held, Some(channel), error));
                }
                tracing::debug!(message_id = work.id, code = error.code, errcode = error.errcode, "again");
                if claim::give_back(app, work, held.owner, maybe).await.is_none() {
                    return Ok(End::Later(backoff(work.receives), said));
                }
                return match when {
                    When::At(due) => {
                        let parked = Parked { channel, due, leads: true };
                        park::park(app, work, parked).await.map(|()| End::Parked)
                    }
                    When::Soon(wait) => Ok(End::Later(wait, said)),
                    When::Over => Ok(End::Later(backoff(work.receives), said)),
                };
            }
        }
    }
}

/// Why a call failed.
enum Problem {
    /// WeChat was not called: there is no token, or no time.
    Token(Outcome),
    /// WeChat refused, or did not answer.
    Call(ApiError),
}

/// Calls WeChat, and again with a new token where it refuses the old one, if there is time.
async fn ask(
    app: &App,
    work: &Work,
    ground: &Ground,
    channel: Channel,
    until: Deadline,
) -> Result<Option<String>, Problem> {
    let token = match &ground.token {
        Some(Ok(token)) => token.clone(),
        Some(Err(error)) => return Err(Problem::Token(no_token(error))),
        None => new_token(app, work, Why::Use, until).await?,
    };
    match call(app, work, channel, &token, until).await {
        Err(Problem::Call(error)) if error.class() == ErrcodeClass::Token => {
            let token = new_token(app, work, Why::Refused(&token), until).await?;
            call(app, work, channel, &token, until).await
        }
        answer => answer,
    }
}

async fn new_token(app: &App, work: &Work, why: Why<'_>, until: Deadline) -> Result<Secret, Problem> {
    let whose = For::Tenant(&work.tenant_id);
    let token = tokens::authorizer(app, whose, &work.app_id, why, until.less(ROUND)).await;
    token.map_err(|error| Problem::Token(no_token(&error)))
}

async fn call(
    app: &App,
    work: &Work,
    channel: Channel,
    token: &Secret,
    until: Deadline,
) -> Result<Option<String>, Problem> {
    const NOTHING: Value = Value::Null;
    if !until.allows(&*app.clock, ROUND) {
        return Err(Problem::Token(out_of_time()));
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
    .map_err(Problem::Call)
}
