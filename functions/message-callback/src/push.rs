//! The steps of one push.

use shared::{
    app::App,
    envelope::{CallbackQuery, Opened, Refusal, is_stale},
    error::Error,
    ids,
    model::{
        account::AccountStatus,
        content::Reply,
        push::{Push, PushKind},
        release_check::{self, ReleaseCheck},
        window::WindowKind,
    },
    queue::jobs::{ImportJob, SendJob},
    store::{
        fans::{FanId, Touch},
        timeline::{Stored, StoredEvent},
    },
};
use std::time::Duration;

use super::{Answer, Rejection};

pub(super) async fn receive(
    app: &App,
    app_id: &str,
    query: &CallbackQuery,
    body: &[u8],
) -> Result<Answer, Rejection> {
    let now = app.clock.unix();
    if app.config.reject_stale_callbacks && is_stale(query.timestamp.as_deref().unwrap_or(""), now) {
        return Err(Rejection::Refused(Refusal::Stale));
    }
    let opened = app.envelope.open(query, body).map_err(Rejection::Refused)?;
    let push = Push::parse(&opened.plaintext).map_err(Rejection::Refused)?;
    if let Some(check) = release_check::check(app_id, &push) {
        return answer_check(app, app_id, &opened, &push, check).await;
    }
    let Some(entry) = app.store.account_entry(app_id).await.map_err(Rejection::Unavailable)? else {
        return if release_check::is_test_account(app_id) {
            Ok(Answer::Success)
        } else {
            Err(Rejection::UnknownAccount)
        };
    };
    if entry.account.original_id != push.to_user_name {
        return Err(Rejection::WrongAccount);
    }
    if entry.account.status == AccountStatus::Unbound {
        return Ok(Answer::Success);
    }
    let fan = FanId { tenant: &entry.account.tenant_id, app_id, open_id: &push.from_user_name };
    let event = event(fan, &push, &opened.plaintext, entry.rules.choose(&push), now);
    let event = store(app, fan, &push, event).await.map_err(Rejection::Unavailable)?;
    Ok(match event.reply {
        Some(xml) => Answer::Reply(seal(app, &opened, &xml)),
        None => Answer::Success,
    })
}

/// What goes to the timeline: the push, and what it is answered with.
fn event(fan: FanId<'_>, push: &Push, plaintext: &[u8], reply: Option<&Reply>, now: i64) -> StoredEvent {
    let passive = reply.and_then(|r| r.passive_xml(&push.from_user_name, &push.to_user_name, now));
    // what no passive reply can carry goes as a customer-service message
    let sends = match (&passive, reply) {
        (None, Some(Reply::Content(content))) => serde_json::to_string(content.as_json()).ok(),
        _ => None,
    };
    StoredEvent {
        identity: push.identity(plaintext),
        kind: push.event_type(),
        at: push.create_time,
        app_id: fan.app_id.into(),
        open_id: fan.open_id.into(),
        detail: serde_json::to_string(&Push::fields(plaintext)).unwrap_or_default(),
        reply: passive,
        sends,
    }
}

/// Stores the event and the fan at the same time, and queues what has to follow. Answers the event as it was
/// stored the first time.
async fn store(app: &App, fan: FanId<'_>, push: &Push, event: StoredEvent) -> Result<StoredEvent, Error> {
    let touch = touch(push);
    let (stored, touched, _) = futures::try_join!(
        app.store.put_event(fan, &event),
        app.store.touch_fan(fan, &touch, push.create_time, false),
        queue_jobs(app, fan, push, &event.identity),
    )?;
    let event = match stored {
        Stored::Seen(before) => *before,
        Stored::New => {
            // a follow and an unfollow within one second are two: the later to arrive stands
            if !touched && matches!(touch, Touch::Followed { .. } | Touch::Unfollowed) {
                app.store.touch_fan(fan, &touch, push.create_time, true).await?;
            }
            event
        }
    };
    if let Some(content) = &event.sends {
        send_reply(app, fan, &event, content).await?;
    }
    Ok(event)
}

fn touch(push: &Push) -> Touch {
    match (&push.kind, push.opens()) {
        (PushKind::Unsubscribe { .. }, _) => Touch::Unfollowed,
        (_, Some(WindowKind::Follow)) => Touch::Followed { scene: push.scene().map(str::to_owned) },
        (_, Some(WindowKind::Message)) => Touch::Message,
        (_, Some(WindowKind::Menu)) => Touch::Menu,
        (_, None) => Touch::Seen,
    }
}

/// What needs a call to WeChat, or another function's store. Queued again on a redelivery: each of these jobs
/// may come twice.
async fn queue_jobs(app: &App, fan: FanId<'_>, push: &Push, identity: &str) -> Result<(), Error> {
    match &push.kind {
        PushKind::Subscribe { .. } => {
            let job = ImportJob::FanV1 {
                app_id: fan.app_id.into(),
                tenant_id: fan.tenant.into(),
                open_id: fan.open_id.into(),
                at: push.create_time,
            };
            app.queues.import(&[job], Duration::ZERO).await
        }
        PushKind::TemplateFinished { msg_id, status } => {
            let job = SendJob::TemplateResultV1 {
                tenant_id: fan.tenant.into(),
                app_id: fan.app_id.into(),
                wechat_msg_id: msg_id.clone(),
                status: status.clone(),
            };
            app.queues.send(&job, &group(fan), &ids::fingerprint(&[fan.app_id, fan.open_id, identity])).await
        }
        _ => Ok(()),
    }
}

/// Queues the customer-service message that a rule answers with. Its id is the event's, so that a redelivery
/// queues the same one.
async fn send_reply(app: &App, fan: FanId<'_>, event: &StoredEvent, content: &str) -> Result<(), Error> {
    let message_id = ids::derived("msg", &[fan.tenant, fan.app_id, fan.open_id, &event.identity]);
    let job = SendJob::MessageV1 {
        message_id: message_id.clone(),
        tenant_id: fan.tenant.into(),
        app_id: fan.app_id.into(),
        to: fan.open_id.into(),
        content: serde_json::from_str(content).ok(),
        template: None,
        created_at: app.clock.now().as_millisecond(),
    };
    app.queues.send(&job, &group(fan), &message_id).await
}

fn group(fan: FanId<'_>) -> String {
    format!("{}#{}", fan.app_id, fan.open_id)
}

fn seal(app: &App, opened: &Opened, xml: &str) -> String {
    let (mut random, mut nonce) = ([0; 16], [0; 8]);
    app.random.fill(&mut random);
    app.random.fill(&mut nonce);
    let nonce = u64::from_le_bytes(nonce).to_string();
    app.envelope.seal_reply(opened.key, xml, app.clock.unix(), &nonce, random)
}

async fn answer_check(
    app: &App,
    app_id: &str,
    opened: &Opened,
    push: &Push,
    check: ReleaseCheck,
) -> Result<Answer, Rejection> {
    match check {
        ReleaseCheck::Reply(xml) => Ok(Answer::Reply(seal(app, opened, &xml))),
        ReleaseCheck::QueryAuthCode { code, open_id } => {
            let group = format!("{app_id}#{open_id}");
            let once = ids::fingerprint(&[app_id, &push.identity(&opened.plaintext)]);
            let job = SendJob::ReleaseCheckV1 { app_id: app_id.into(), code: code.expose().into(), open_id };
            app.queues.send(&job, &group, &once).await.map_err(Rejection::Unavailable)?;
            Ok(Answer::Empty)
        }
    }
}
