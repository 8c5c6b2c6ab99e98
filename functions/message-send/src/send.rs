//! One round of messages, each to another fan: ground, decisions, claims, WeChat, records.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    metrics::Metric,
    secret::Secret,
    store::{
        claims::Claim,
        messages::{Channel, Ended, Message, MessageError, MessageStatus},
        timeline::StoredEvent,
    },
    tokens::{self, For, Why},
    wechat::{ApiError, errcode::ErrcodeClass},
};

use crate::{
    claim::{self, Again, Claimed, Held, Way},
    decide::{Carries, Plan},
    ground::{self, Ground},
    outcome::{LAST_RECEIVE, Outcome, UNKNOWN, backoff, cause, no_token, outcome, wait},
};

/// How often the records of a round are written.
const KEEP_TRIES: u32 = 5;
/// Between two such tries.
const KEEP_PAUSE: Duration = Duration::from_millis(200);

/// How long a token is waited for.
const TOKEN_PATIENCE: Duration = Duration::from_secs(15);

/// A message to be sent, as its job carries it.
#[derive(Debug)]
pub struct Work {
    /// `msg_…`.
    pub id: String,
    /// Whose.
    pub tenant_id: String,
    /// The account that sends it.
    pub app_id: String,
    /// The openid that gets it.
    pub to: String,
    /// WeChat's customer-service message, without `touser`.
    pub content: Option<Value>,
    /// WeChat's template message, without `touser`.
    pub template: Option<Value>,
    /// When it was accepted, unix milliseconds.
    pub created_at: i64,
    /// How often its job was received.
    pub receives: u32,
}

impl Work {
    /// Tenant and account.
    pub fn account(&self) -> ground::Key<'_> {
        (&self.tenant_id, &self.app_id)
    }

    /// What it carries.
    pub fn carries(&self) -> Carries {
        Carries { content: self.content.is_some(), template: self.template.is_some() }
    }

    fn message(&self, channel: Option<Channel>, status: MessageStatus) -> Message {
        Message {
            id: self.id.clone(),
            tenant_id: self.tenant_id.clone(),
            app_id: self.app_id.clone(),
            to: self.to.clone(),
            status,
            channel,
            content: self.content.as_ref().map(Value::to_string),
            template: self.template.as_ref().map(Value::to_string),
            wechat_msg_id: None,
            error: None,
            created_at: self.created_at,
            sent_at: None,
            claimed_at: None,
            claimed_by: None,
            first_claimed_at: None,
        }
    }

    fn sent(&self, app: &App, held: &Held, channel: Channel, wechat_msg_id: Option<String>) -> End {
        let now = app.clock.now();
        let carried = match channel {
            Channel::CustomerService => ("content", &self.content),
            Channel::Template => ("template", &self.template),
        };
        let detail = json!({ "message_id": self.id, "channel": channel, carried.0: carried.1 });
        let event = StoredEvent {
            identity: format!("S{}", self.id),
            kind: "message_sent".into(),
            at: now.as_second(),
            app_id: self.app_id.clone(),
            open_id: self.to.clone(),
            detail: detail.to_string(),
            reply: None,
            sends: None,
        };
        let mut message = self.message(Some(channel), MessageStatus::Sent);
        message.wechat_msg_id = wechat_msg_id.filter(|id| !id.is_empty());
        message.sent_at = Some(now.as_millisecond());
        End::Keep(Box::new(Ended { owner: held.owner, message, event: Some(event) }))
    }

    fn failed(&self, app: &App, held: &Held, channel: Option<Channel>, error: MessageError) -> End {
        app.metrics.count(Metric::FailedMessages(cause(&error.code)), app.clock.now());
        tracing::info!(
            message_id = self.id,
            app_id = self.app_id,
            code = error.code,
            errcode = error.errcode,
            "a message failed: {}",
            error.code
        );
        let mut message = self.message(channel, MessageStatus::Failed);
        message.error = Some(error);
        End::Keep(Box::new(Ended { owner: held.owner, message, event: None }))
    }
}

/// What became of a message in this round.
#[derive(Debug)]
pub enum End {
    /// Nothing is left to be done.
    Done,
    /// To be recorded.
    Keep(Box<Ended>),
    /// Not done: its job comes again.
    Later(Duration),
}

/// Sends `works`, of which no two go to one fan. Answers for each [`None`] when it is done, else when it should
/// come again.
pub async fn round(app: &App, works: &[Work]) -> Vec<Option<Duration>> {
    let grounds = ground::all(app, works).await;
    let now = app.clock.unix();
    let mut fresh = Vec::new();
    let mut places = Vec::with_capacity(works.len());
    for work in works {
        let ground = match grounds.get(&work.account()) {
            Some(Ok(ground)) => ground,
            other => {
                let error = other.and_then(|read| read.as_ref().err());
                tracing::warn!(app_id = work.app_id, "nothing is known of an account: {error:?}");
                places.push(Err(backoff(work.receives)));
                continue;
            }
        };
        let plan = ground.plan(work, false, now);
        match ground.token.as_ref() {
            // Nothing is claimed yet, so the job alone comes again; not for ever.
            Some(Err(error))
                if work.receives < LAST_RECEIVE && !matches!(plan, Plan::Fail(_)) && waits(error) =>
            {
                tracing::warn!(app_id = work.app_id, %error, "no token to send with: {error}");
                places.push(Err(later(error, work.receives)));
            }
            _ if work.receives > 1 => places.push(Ok((ground, None))),
            _ => {
                places.push(Ok((ground, Some(fresh.len()))));
                fresh.push((work, ground, plan));
            }
        }
    }
    let mut claims = claim::first(app, &fresh).await.map(|all| all.into_iter().map(Some).collect::<Vec<_>>());
    if let Err(error) = &claims {
        tracing::warn!(%error, "messages could not be taken: {error}");
    }
    let each = works.iter().zip(places).map(|(work, place)| {
        // the claim of each, where the round made one
        let claimed = place.map(|(ground, first)| {
            let claimed = match (first, &mut claims) {
                (None, _) => Ok(None),
                (Some(n), Ok(all)) => {
                    Ok(all.get_mut(n).and_then(Option::take).zip(fresh.get(n).map(|f| f.2)))
                }
                (Some(_), Err(error)) => Err(later(error, work.receives)),
            };
            (ground, claimed)
        });
        async move {
            let (ground, claimed) = match claimed {
                Ok((ground, Ok(claimed))) => (ground, claimed),
                Ok((_, Err(wait))) | Err(wait) => return End::Later(wait),
            };
            one(app, work, ground, claimed).await.unwrap_or_else(|error| {
                tracing::warn!(message_id = work.id, %error, "a message has to wait: {error}");
                End::Later(later(&error, work.receives))
            })
        }
    });
    let ends = join_all(each).await;
    record(app, ends).await
}

fn waits(error: &Error) -> bool {
    matches!(no_token(error), Outcome::Again { .. })
}

fn later(error: &Error, receives: u32) -> Duration {
    match error.retry() {
        shared::error::Retry::After(least) => backoff(receives).max(least),
        shared::error::Retry::Never => backoff(receives),
    }
}

/// One message, from its claim on. `claimed` is what the round's request did for it; none for a job that came
/// before.
async fn one(
    app: &App,
    work: &Work,
    ground: &Ground,
    claimed: Option<(Claimed, Plan)>,
) -> Result<End, Error> {
    let is_first = claimed.is_some();
    let (used, seen) = match claimed {
        Some((Claimed { owner, claim: Claim::Ours, used }, plan)) => {
            let way = if used { Way::Send(Channel::CustomerService) } else { Way::from(plan) };
            // A window whose use was refused is decided anew below.
            (used, Ok(Held { owner, way, may_have_happened: false }))
        }
        Some((Claimed { owner, claim: Claim::Undone(error), .. }, _)) => {
            // It may be ours all the same, and nothing was sent.
            claim::give_back(app, work, owner, false).await;
            return Err(error);
        }
        Some((Claimed { claim: Claim::Taken(seen), used, .. }, _)) => (used, Err(seen.map(|seen| *seen))),
        None => (false, Err(None)),
    };
    let mut held = match seen {
        Ok(held) => held,
        Err(seen) => match claim::again(app, work, ground, used, seen).await? {
            Again::Ended => return Ok(End::Done),
            Again::Later(wait) => return Ok(End::Later(wait)),
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
        Way::Send(channel) => deliver(app, work, ground, &held, channel).await,
        Way::Refuse(why) => {
            let (code, detail) = why.words();
            let error = MessageError { code: code.into(), errcode: None, detail: detail.into() };
            Ok(work.failed(app, &held, None, error))
        }
        Way::Unknown | Way::Window(_) => Ok(work.failed(app, &held, None, unknown(None))),
    }
}

fn unknown(errcode: Option<i64>) -> MessageError {
    MessageError { code: "outcome_unknown".into(), errcode, detail: UNKNOWN.into() }
}

/// Asks WeChat, first by `channel`, then by the template where the window is closed after all.
async fn deliver(
    app: &App,
    work: &Work,
    ground: &Ground,
    held: &Held,
    mut channel: Channel,
) -> Result<End, Error> {
    let template = ground.standing.template && work.template.is_some();
    loop {
        let what = match ask(app, work, ground, channel).await {
            Ok(wechat_msg_id) => return Ok(work.sent(app, held, channel, wechat_msg_id)),
            Err(Problem::Call(error)) => outcome(channel, &error, template),
            Err(Problem::Token(error)) => error,
        };
        match what {
            // Once at most: a template is asked for no window.
            Outcome::UseTemplate => {
                if let Err(error) = claim::to_template(app, work, held.owner).await {
                    claim::give_back(app, work, held.owner, false).await;
                    return Err(error);
                }
                channel = Channel::Template;
            }
            Outcome::Fail(error) => return Ok(work.failed(app, held, Some(channel), error)),
            Outcome::Again { why, may_have_happened, error } => {
                let maybe = may_have_happened || held.may_have_happened;
                let Some(tries) = claim::give_back(app, work, held.owner, maybe).await else {
                    return Ok(End::Later(backoff(work.receives)));
                };
                let now = app.clock.now();
                let age = now.as_millisecond() - work.created_at;
                return Ok(match wait(why, tries, work.receives, age, now) {
                    Some(wait) => {
                        tracing::debug!(
                            message_id = work.id,
                            code = error.code,
                            errcode = error.errcode,
                            "again"
                        );
                        End::Later(wait)
                    }
                    None if maybe => work.failed(app, held, Some(channel), unknown(error.errcode)),
                    None => work.failed(app, held, Some(channel), error),
                });
            }
        }
    }
}

/// Why WeChat did not take a message.
enum Problem {
    /// It was not asked: there is no token.
    Token(Outcome),
    /// It refused, or did not answer.
    Call(ApiError),
}

/// Asks WeChat once, and once more with a new token where it refuses the old one.
async fn ask(app: &App, work: &Work, ground: &Ground, channel: Channel) -> Result<Option<String>, Problem> {
    let token = match &ground.token {
        Some(Ok(token)) => token.clone(),
        Some(Err(error)) => return Err(Problem::Token(no_token(error))),
        None => new_token(app, work, Why::Use).await?,
    };
    match call(app, work, channel, &token).await {
        Err(error) if error.class() == ErrcodeClass::Token => {
            let token = new_token(app, work, Why::Refused(&token)).await?;
            call(app, work, channel, &token).await
        }
        answer => answer,
    }
    .map_err(Problem::Call)
}

async fn new_token(app: &App, work: &Work, why: Why<'_>) -> Result<Secret, Problem> {
    let token = tokens::authorizer(app, For::Tenant(&work.tenant_id), &work.app_id, why, until(app)).await;
    token.map_err(|error| Problem::Token(no_token(&error)))
}

/// Until when a token is waited for.
pub fn until(app: &App) -> Deadline {
    Deadline::after(&*app.clock, TOKEN_PATIENCE)
}

async fn call(app: &App, work: &Work, channel: Channel, token: &Secret) -> Result<Option<String>, ApiError> {
    const NOTHING: Value = Value::Null;
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
}

/// Writes what became of the round's messages, in one request. Where that fails the jobs come again, and the
/// rule for crashes decides.
async fn record(app: &App, ends: Vec<End>) -> Vec<Option<Duration>> {
    let mut done = Vec::new();
    let waits: Vec<_> = ends
        .into_iter()
        .map(|end| match end {
            End::Done => (false, None),
            End::Later(wait) => (false, Some(wait)),
            End::Keep(record) => {
                done.push(*record);
                (true, None)
            }
        })
        .collect();
    let mut noted: Vec<Option<bool>> = vec![None; done.len()];
    for attempt in 1..=KEEP_TRIES {
        if done.is_empty() {
            break;
        }
        match app.store.keep_messages(&done).await {
            Ok(answers) => {
                let mut open = Vec::new();
                let places = noted.iter_mut().filter(|noted| noted.is_none());
                for ((place, ended), answer) in places.zip(done).zip(answers) {
                    match answer {
                        Ok(ours) => *place = Some(ours),
                        Err(error) => {
                            tracing::error!(%error, attempt, "an outcome could not be stored: {error}");
                            open.push(ended);
                        }
                    }
                }
                done = open;
            }
            Err(error) => {
                tracing::error!(%error, attempt, "the outcome of messages could not be stored: {error}");
            }
        }
        if !done.is_empty() && attempt < KEEP_TRIES {
            tokio::time::sleep(KEEP_PAUSE).await;
        }
    }
    let mut noted = noted.into_iter();
    let again = |(keeps, wait)| match keeps {
        true if noted.next().flatten() != Some(true) => Some(backoff(1)),
        _ => wait,
    };
    waits.into_iter().map(again).collect()
}
