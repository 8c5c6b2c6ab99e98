//! One round of messages, each to another fan: ground, decisions, claims, WeChat, records.

use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    ids,
    metrics::Metric,
    quota,
    secret::Secret,
    store::{
        claims::{CLAIM_SECONDS, Claim},
        lines::Line,
        messages::{Channel, Ended, Message, MessageError, MessageStatus},
        timeline::StoredEvent,
    },
    tokens::{self, For, Why},
    wechat::{ApiError, errcode::ErrcodeClass, transport::CALL_LIMIT},
};

use crate::{
    claim::{self, Again, Claimed, Held, Way},
    decide::{Carries, Plan},
    found::RESEND_SECONDS,
    ground::{self, Ground},
    outcome::{
        Outcome, PATIENCE_MS, Wait, When, backoff, cause, no_token, out_of_time, outcome, quota_used_up,
        unknown, when,
    },
    park, record,
    shares::{PUT_OFF_MS, PUT_OFF_SPREAD_MS, Shares},
};

/// What is left of an invocation's time when the last call of a round ends: for the record of it.
const RECORD: Duration = Duration::from_millis(1_500);
/// What a round may take from its beginning on, if all goes well: a call, and the records.
pub const ROUND: Duration = Duration::from_millis(CALL_LIMIT.as_millis() as u64 + RECORD.as_millis() as u64);

/// How long a round goes on at most: its claims stand a little longer.
const CLAIMED: Duration = Duration::from_secs(CLAIM_SECONDS.unsigned_abs() - 2);

/// Over how long those come back that wait for the same, milliseconds: a hundred thousand that wait for midnight are
/// 170 a second then.
const SPREAD_MS: i64 = 10 * 60_000;
/// In how many steps.
const SPREAD_STEPS: u32 = 1_000;

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
    /// It waited in a timer; what it carries is in its record.
    pub waited: bool,
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

    /// The queue's group: what stays in order.
    pub fn group(&self) -> String {
        format!("{}#{}", self.app_id, self.to)
    }

    /// What its record carries.
    pub fn fill(&mut self, message: &Message) {
        let json = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str(text).ok());
        self.content = json(&message.content);
        self.template = json(&message.template);
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

    /// Its end without having been sent. Where an earlier try may have reached the fan, whatever a later one was answered
    /// says nothing of that one.
    fn failed(&self, app: &App, held: &Held, channel: Option<Channel>, error: MessageError) -> End {
        let error = if held.may_have_happened { unknown(error.errcode) } else { error };
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
    /// It ended before.
    Ended,
    /// It ended now, which is to be recorded.
    Keep(Box<Ended>),
    /// It waits in a timer: its job is done.
    Parked,
    /// Not done: its job comes again after so long; and why.
    Later(Duration, String),
}

/// How a message begins in this round.
enum Start<'a> {
    /// Not at all: its job is done, or comes again.
    Not(End),
    /// It waits until this unix millisecond, leading its line or behind others.
    Park(i64, bool),
    /// Nobody took it before: as the round's one request took it.
    First(&'a Ground, usize),
    /// Somebody took it before.
    Again(&'a Ground, Option<Box<Message>>),
}

/// Sends `works`, of which no two go to one fan. Answers for each [`None`] when its job is done, else when it should
/// come again, and why. Begins only where `until` allows a [`ROUND`].
pub async fn round(
    app: &App,
    shares: &Shares,
    mut works: Vec<Work>,
    until: Deadline,
) -> Vec<Option<(Duration, String)>> {
    if works.is_empty() {
        return Vec::new();
    }
    // however long the function may take: a claim that has ended is another worker's to take
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
    let mut about: Vec<(Option<Box<Message>>, Option<Line>)> = Vec::with_capacity(works.len());
    for work in &mut works {
        let message = context.message(&work.tenant_id, &work.id).unwrap_or_else(|error| unreadable(&error));
        let line = context.line(work.fan()).unwrap_or_else(|error| unreadable(&error));
        if let (true, Some(message)) = (work.waited, &message) {
            work.fill(message);
        }
        about.push((message.map(Box::new), line));
    }
    let works = works;
    let grounds = ground::all(app, &works, &context, until.less(ROUND)).await;
    let mut fresh = Vec::new();
    let mut starts = Vec::with_capacity(works.len());
    for (work, (message, line)) in works.iter().zip(&about) {
        let start = match grounds.get(&work.account()) {
            Some(Ok(ground)) => start(app, shares, work, (message, line.as_ref()), ground, &mut fresh),
            other => {
                let error = other.and_then(|read| read.as_ref().err());
                tracing::warn!(app_id = work.app_id, "nothing is known of an account: {error:?}");
                let why =
                    error.map_or_else(|| "nothing is known of its account".to_owned(), Error::to_string);
                Start::Not(End::Later(backoff(work.receives), why))
            }
        };
        starts.push(start);
    }
    let mut claims = claim::first(app, &fresh).await.map(|all| all.into_iter().map(Some).collect::<Vec<_>>());
    if let Err(error) = &claims {
        tracing::warn!(%error, "messages could not be taken: {error}");
    }
    let mut flights = Vec::with_capacity(works.len());
    for (work, start) in works.iter().zip(starts) {
        // the claim of each, where the round made one
        let begun = match start {
            Start::Not(end) => Begun::Over(end),
            Start::Park(due, leads) => Begun::Park(due, leads),
            Start::Again(ground, seen) => Begun::Held(ground, None, seen),
            Start::First(ground, n) => match &mut claims {
                Ok(all) => {
                    let claimed = all.get_mut(n).and_then(Option::take).zip(fresh.get(n).map(|f| f.2));
                    Begun::Held(ground, claimed, None)
                }
                Err(error) => Begun::Over(End::Later(later(error, work.receives), error.to_string())),
            },
        };
        flights.push(async move {
            let flown = match begun {
                Begun::Over(end) => Ok(end),
                Begun::Park(due, leads) => park::park(app, work, due, leads).await.map(|()| End::Parked),
                Begun::Held(ground, claimed, seen) => one(app, work, ground, claimed, seen, until).await,
            };
            flown.unwrap_or_else(|error| {
                tracing::warn!(message_id = work.id, %error, "a message has to wait: {error}");
                End::Later(later(&error, work.receives), error.to_string())
            })
        });
    }
    let lines: Vec<_> = works.iter().zip(&about).map(|(work, (_, line))| (work, line.as_ref())).collect();
    record::as_they_land(app, &lines, flights).await
}

/// A message with the claim that it needs.
enum Begun<'a> {
    Over(End),
    Park(i64, bool),
    Held(&'a Ground, Option<(Claimed, Plan)>, Option<Box<Message>>),
}

fn unreadable<T>(error: &Error) -> Option<T> {
    tracing::error!(%error, "a stored item cannot be read: {error}");
    None
}

/// Decides how a message begins, before anything is written.
fn start<'a>(
    app: &App,
    shares: &Shares,
    work: &'a Work,
    (message, line): (&Option<Box<Message>>, Option<&Line>),
    ground: &'a Ground,
    fresh: &mut Vec<(&'a Work, &'a Ground, Plan)>,
) -> Start<'a> {
    let now = app.clock.now();
    let status = message.as_ref().map(|m| m.status);
    if matches!(status, Some(MessageStatus::Sent | MessageStatus::Delivered | MessageStatus::Failed))
        || (work.waited && status.is_none())
    {
        return Start::Not(End::Ended);
    }
    if let Some(due) = park::behind(work, line, now.as_millisecond()) {
        return Start::Park(due, false);
    }
    let plan = ground.plan(work, false, now.as_second());
    let age = now.as_millisecond() - work.created_at;
    if !work.waited && work.receives == 1 && shares.count(&work.tenant_id, age, now.as_second()) {
        let due = now.as_millisecond() + PUT_OFF_MS + spread(work, PUT_OFF_SPREAD_MS);
        let closes = ground.closes_at(&work.to, now.as_second()).map(|at| at.saturating_mul(1000));
        // one whose window may close meanwhile goes at once
        if plan == Plan::Template || closes.is_some_and(|closes| closes > due) {
            return Start::Park(due, true);
        }
    }
    // Nothing is claimed yet, so the job alone waits; not for ever.
    if let Some(wait) = waits(ground, plan, now.as_second()) {
        match due(app, work, ground, &wait, plan.channel()) {
            When::Soon(after) => return Start::Not(End::Later(after, wait.why().to_owned())),
            When::At(due) => return Start::Park(due, true),
            When::Over => {}
        }
    }
    let untouched = message.as_ref().is_some_and(|m| m.claimed_by.as_deref() == Some(""));
    if (work.waited || work.receives > 1) && !untouched {
        return Start::Again(ground, message.clone());
    }
    fresh.push((work, ground, plan));
    Start::First(ground, fresh.len() - 1)
}

/// What a message waits for that would go by `plan`, if it does.
fn waits(ground: &Ground, plan: Plan, now: i64) -> Option<Wait> {
    let channel = plan.channel()?;
    if let Some(refusal) = ground.refused(channel, now) {
        return Some(Wait::Quota(refusal.refused_until));
    }
    match no_token(ground.token.as_ref()?.as_ref().err()?) {
        Outcome::Again { why, .. } => Some(why),
        _ => None,
    }
}

/// When a message comes again: at the latest when the window closes that it would go by. Those that wait for the same
/// come one after the other.
fn due(app: &App, work: &Work, ground: &Ground, why: &Wait, channel: Option<Channel>) -> When {
    let now = app.clock.now();
    let age = now.as_millisecond() - work.created_at;
    let When::At(due) = when(*why, work.waited, work.receives, age, now.as_millisecond()) else {
        return when(*why, work.waited, work.receives, age, now.as_millisecond());
    };
    let over = work.created_at.saturating_add(PATIENCE_MS);
    let wait = due - now.as_millisecond();
    let due = due.saturating_add(spread(work, (wait / 2).min(SPREAD_MS))).min(over.max(now.as_millisecond()));
    let closes = ground.closes_at(&work.to, now.as_second()).map(|at| at.saturating_mul(1000));
    let closes = closes.filter(|_| channel == Some(Channel::CustomerService));
    When::At(closes.map_or(due, |closes| due.min(closes)))
}

/// A part of `over`, milliseconds, the same for all messages to one fan.
fn spread(work: &Work, over: i64) -> i64 {
    i64::from(ids::shard(&work.group(), SPREAD_STEPS)) * over / i64::from(SPREAD_STEPS)
}

fn later(error: &Error, receives: u32) -> Duration {
    match error.retry() {
        shared::error::Retry::After(least) => backoff(receives).max(least),
        shared::error::Retry::Never => backoff(receives),
    }
}

/// One message, from its claim on. `claimed` is what the round's request did for it; none for a job that came
/// before, whose message is `seen`.
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
            // A window whose use was refused is decided anew below.
            (used, Ok(Held { owner, way, may_have_happened: false, since: now }))
        }
        Some((Claimed { owner, claim: Claim::Undone(error), .. }, _)) => {
            // It may be ours all the same, and nothing was sent.
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

/// Asks WeChat, first by `channel`, then by the template where the window is closed after all.
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
                let said = error.code.clone();
                let maybe = may_have_happened || held.may_have_happened;
                let held = Held { may_have_happened: maybe, ..*held };
                let when = due(app, work, ground, &why, Some(channel));
                // beyond that time WeChat would deliver it twice
                let last = held.since.saturating_add(RESEND_SECONDS).saturating_mul(1000);
                if when == When::Over || (maybe && matches!(when, When::At(due) if due >= last)) {
                    return Ok(work.failed(app, &held, Some(channel), error));
                }
                tracing::debug!(message_id = work.id, code = error.code, errcode = error.errcode, "again");
                if claim::give_back(app, work, held.owner, maybe).await.is_none() {
                    return Ok(End::Later(backoff(work.receives), said));
                }
                return match when {
                    When::At(due) => park::park(app, work, due, true).await.map(|()| End::Parked),
                    When::Soon(wait) => Ok(End::Later(wait, said)),
                    When::Over => Ok(End::Later(backoff(work.receives), said)),
                };
            }
        }
    }
}

/// Why WeChat did not take a message.
enum Problem {
    /// It was not asked: there is no token, or no time.
    Token(Outcome),
    /// It refused, or did not answer.
    Call(ApiError),
}

/// Asks WeChat once, and once more with a new token where it refuses the old one, if there is time for it.
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

#[cfg(test)]
impl Work {
    /// A text to a fan.
    pub fn example(id: &str) -> Self {
        Self {
            id: id.into(),
            tenant_id: "ten_1".into(),
            app_id: "wx1".into(),
            to: "o1".into(),
            content: Some(json!({ "msgtype": "text", "text": { "content": id } })),
            template: None,
            created_at: 0,
            receives: 1,
            waited: false,
        }
    }
}
