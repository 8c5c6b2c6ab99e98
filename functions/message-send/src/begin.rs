//! Decides how a round starts with a message, before anything is written.

use std::time::Duration;

use shared::{
    app::App,
    error::{Error, Retry},
    ids,
    store::{
        context::Context,
        lines::Line,
        messages::{Channel, Message},
    },
};

use crate::{
    decide::Plan,
    found::{Found, found},
    ground::Ground,
    outcome::{Outcome, PATIENCE_MS, Wait, When, backoff, no_token, when},
    park::{self, Parked},
    send::End,
    shares::{PUT_OFF_MS, PUT_OFF_SPREAD_MS},
    work::Work,
};

/// Messages that wait for the same are spread over this, in milliseconds: a hundred thousand that wait for
/// midnight are 170 a second.
const SPREAD_MS: i64 = 10 * 60_000;
/// The number of steps of the spread.
const SPREAD_STEPS: u32 = 1_000;

/// The waiting lines of a fan, by channel.
pub type Lines = Vec<(Channel, Line)>;

/// What is stored about one message.
#[derive(Debug)]
pub struct About {
    /// Its record, if it was read and exists.
    pub message: Option<Box<Message>>,
    /// The waiting lines that it may be in.
    pub lines: Lines,
}

impl About {
    /// Reads it, and the payload of a message that waited.
    ///
    /// # Errors
    /// [`Error::Item`]: an item is unreadable for this version, which must not be taken for a missing item.
    pub fn read(context: &Context, work: &mut Work) -> Result<Self, Error> {
        let message = context.message(&work.tenant_id, &work.id)?;
        if let (true, Some(message)) = (work.waited, &message) {
            work.fill(message)?;
        }
        let mut lines = Lines::new();
        for channel in work.channels() {
            lines.extend(context.line(work.fan(), channel)?.map(|line| (channel, line)));
        }
        context.fan(work.fan())?;
        Ok(Self { message: message.map(Box::new), lines })
    }

    fn line(&self, channel: Channel) -> Option<&Line> {
        self.lines.iter().find(|(of, _)| *of == channel).map(|(_, line)| line)
    }
}

/// How a round starts with a message.
pub enum Start {
    /// It does not: its job is done, or is delivered again.
    Not(End),
    /// It waits.
    Park(Parked),
    /// It was never leased: lease it in the round's one request.
    First(Plan),
    /// It was leased before.
    Again,
}

/// Decides how to start with a message. `defers_tenant`: it is the other tenants' turn.
pub fn start(app: &App, work: &Work, about: &About, ground: &Ground, put_off: bool) -> Start {
    let now = app.clock.now();
    let counted = match about.message.as_ref().map(|message| found(message, now.as_second())) {
        Some(Found::Ended) => return Start::Not(End::Ended),
        Some(Found::Busy(_) | Found::Resend | Found::Unknown) => return Start::Again,
        Some(Found::Free { counted }) => counted,
        None if work.waited => return Start::Not(End::Ended),
        None => false,
    };
    let plan = ground.plan(work, counted, now.as_second());
    if let Some(channel) = plan.channel()
        && let Some(not_now) = not_now(app, work, about, ground, channel, put_off)
    {
        return not_now;
    }
    let untouched = about.message.as_ref().is_some_and(|m| m.claimed_by.as_deref() == Some(""));
    if (work.waited || work.receives > 1) && !untouched { Start::Again } else { Start::First(plan) }
}

/// Returns the wait of a message that `channel` cannot send now. Nothing is leased yet.
fn not_now(
    app: &App,
    work: &Work,
    about: &About,
    ground: &Ground,
    channel: Channel,
    put_off: bool,
) -> Option<Start> {
    let now = app.clock.now().as_millisecond();
    let closes = closes_at(app, work, ground, channel);
    if let Some(due) = park::behind(work, about.line(channel), now) {
        return Some(Start::Park(Parked { channel, due: due.min(closes), leads: false }));
    }
    if put_off && work.receives == 1 {
        let age = now - work.created_at;
        let due = now + age.clamp(PUT_OFF_MS.0, PUT_OFF_MS.1) + spread(work, PUT_OFF_SPREAD_MS);
        // a message whose window may close by then is sent at once
        if due < closes && due < work.created_at.saturating_add(PATIENCE_MS) {
            return Some(Start::Park(Parked { channel, due, leads: true }));
        }
    }
    let why = waits(app, ground, channel)?;
    match due(app, work, ground, &why, channel) {
        When::Soon(wait) => Some(Start::Not(End::Later(wait, why.why().to_owned()))),
        When::At(due) => Some(Start::Park(Parked { channel, due, leads: true })),
        When::Over => None,
    }
}

/// What a message by `channel` has to wait for, if anything.
fn waits(app: &App, ground: &Ground, channel: Channel) -> Option<Wait> {
    if let Some(refusal) = ground.refused(channel, app.clock.unix()) {
        return Some(Wait::Quota(refusal.refused_until));
    }
    match no_token(ground.token.as_ref()?.as_ref().err()?) {
        Outcome::Again { why, .. } => Some(why),
        _ => None,
    }
}

/// When to try again: at the latest when its window closes. Those that wait for the same are spread, so that
/// they do not all come at once.
pub fn due(app: &App, work: &Work, ground: &Ground, why: &Wait, channel: Channel) -> When {
    let now = app.clock.now().as_millisecond();
    match when(*why, work.waited, work.receives, now - work.created_at, now) {
        When::At(due) => {
            let over = work.created_at.saturating_add(PATIENCE_MS).max(now);
            let due = due.saturating_add(spread(work, ((due - now) / 2).min(SPREAD_MS))).min(over);
            When::At(due.min(closes_at(app, work, ground, channel)))
        }
        other => other,
    }
}

/// When the last usable window closes, in unix milliseconds; the maximum for a channel that needs none.
fn closes_at(app: &App, work: &Work, ground: &Ground, channel: Channel) -> i64 {
    let closes = match channel {
        Channel::CustomerService => ground.closes_at(&work.to, app.clock.unix()),
        Channel::Template => None,
    };
    closes.map_or(i64::MAX, |at| at.saturating_mul(1000))
}

/// A part of `over`, in milliseconds, that is the same for all messages to one fan.
fn spread(work: &Work, over: i64) -> i64 {
    i64::from(ids::shard(&work.group(), SPREAD_STEPS)) * over / i64::from(SPREAD_STEPS)
}

/// The wait before a job that met `error` is delivered again.
pub fn later(error: &Error, receives: u32) -> Duration {
    match error.retry() {
        Retry::After(least) => backoff(receives).max(least),
        Retry::Never => backoff(receives),
    }
}
