//! How a message begins in a round, before anything is written.

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

/// Over how long those come back that wait for the same, milliseconds: a hundred thousand that wait for midnight are
/// 170 a second then.
const SPREAD_MS: i64 = 10 * 60_000;
/// In how many steps.
const SPREAD_STEPS: u32 = 1_000;

/// Who waits to reach a fan, by each channel where somebody does.
pub type Lines = Vec<(Channel, Line)>;

/// What is stored about one message.
#[derive(Debug)]
pub struct About {
    /// Itself, where it was asked for and is there.
    pub message: Option<Box<Message>>,
    /// The lines that it may stand in.
    pub lines: Lines,
}

impl About {
    /// Reads it, and what a message that waited carries.
    ///
    /// # Errors
    /// [`Error::Item`]: something is not what this version writes. That is not to be taken for its absence.
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

/// How a message begins in this round.
pub enum Start {
    /// Not at all: its job is done, or comes again.
    Not(End),
    /// It waits.
    Park(Parked),
    /// Nobody took it before: as the round's one request takes it.
    First(Plan),
    /// Somebody took it before.
    Again,
}

/// Decides how a message begins. `put_off`: others have their turn.
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

/// Why a message that would go by `channel` does not go now. Nothing is claimed yet.
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
        // one whose window may close meanwhile goes at once
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

/// What a message waits for that would go by `channel`, if it does.
fn waits(app: &App, ground: &Ground, channel: Channel) -> Option<Wait> {
    if let Some(refusal) = ground.refused(channel, app.clock.unix()) {
        return Some(Wait::Quota(refusal.refused_until));
    }
    match no_token(ground.token.as_ref()?.as_ref().err()?) {
        Outcome::Again { why, .. } => Some(why),
        _ => None,
    }
}

/// When a message comes again: at the latest when the window closes that it would go by. Those that wait for the same
/// come one after the other.
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

/// When the last window closes that a message by `channel` goes by, unix milliseconds; never for one that needs none.
fn closes_at(app: &App, work: &Work, ground: &Ground, channel: Channel) -> i64 {
    let closes = match channel {
        Channel::CustomerService => ground.closes_at(&work.to, app.clock.unix()),
        Channel::Template => None,
    };
    closes.map_or(i64::MAX, |at| at.saturating_mul(1000))
}

/// A part of `over`, milliseconds, the same for all messages to one fan.
fn spread(work: &Work, over: i64) -> i64 {
    i64::from(ids::shard(&work.group(), SPREAD_STEPS)) * over / i64::from(SPREAD_STEPS)
}

/// When a job comes again that met `error`.
pub fn later(error: &Error, receives: u32) -> Duration {
    match error.retry() {
        Retry::After(least) => backoff(receives).max(least),
        Retry::Never => backoff(receives),
    }
}
