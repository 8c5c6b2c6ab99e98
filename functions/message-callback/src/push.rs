//! The steps of one push.

use shared::{
    app::App,
    envelope::{CallbackQuery, Opened, Refusal, is_stale},
    error::Error,
    ids,
    metrics::Metric,
    model::{
        content::Reply,
        push::{Push, PushKind},
        release_check::{self, ReleaseCheck},
        window::WindowKind,
    },
    queue::jobs::{ImportJob, SendJob},
    store::{
        account_cache::Addressee,
        accounts::AccountRecord,
        fans::{FanId, Touch},
        timeline::{CLOCK_SKEW, Owner, Stored, StoredEvent},
    },
};

use super::{Answer, Rejection};

/// The longest app id, which becomes part of table keys; real ones have 18 bytes.
const MAX_APP_ID: usize = 64;
/// The longest message id of WeChat's, which becomes part of table keys; real ones have at most 20 digits.
const MAX_MESSAGE_ID: usize = 64;
/// The bytes that are read of a template message's delivery status.
const MAX_STATUS: usize = 256;

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
    if app_id.len() > MAX_APP_ID {
        return Err(Rejection::UnknownAccount);
    }
    if let Some(check) = release_check::check(app_id, &push) {
        return answer_check(app, app_id, &opened, check).await;
    }
    let entry = match app.store.addressee(app_id).await.map_err(Rejection::Unavailable)? {
        Addressee::Bound(entry) => entry,
        Addressee::BeingBound(account) => {
            for_this_account(account.as_deref(), &push)?;
            return Err(Rejection::BeingBound);
        }
        Addressee::Nobody { account, first } => {
            for_this_account(account.as_deref(), &push)?;
            if !release_check::is_test_account(app_id) {
                of_nobody(app, app_id, first);
            }
            return Ok(Answer::Success);
        }
    };
    for_this_account(Some(&entry.account), &push)?;
    let tenant = entry.account.tenant_id.as_str();
    let fan = FanId { tenant, app_id, open_id: &push.from_user_name };
    let event = event(fan, &push, &opened.plaintext, entry.rules.choose(&push), now);
    let stored = if push.is_of_account() {
        store_of_account(app, Owner::Account { tenant, app_id }, event).await
    } else {
        store(app, fan, &push, event, now).await
    };
    Ok(match stored.map_err(Rejection::Unavailable)?.reply {
        Some(xml) => Answer::Reply(seal(app, &opened, &xml)),
        None => Answer::Success,
    })
}

fn for_this_account(account: Option<&AccountRecord>, push: &Push) -> Result<(), Rejection> {
    match account {
        Some(account) if account.original_id != push.to_user_name => Err(Rejection::WrongAccount),
        _ => Ok(()),
    }
}

/// A push for an account that is not bound. Any response but `success` would show its followers an error
/// (contract 18), and WeChat keeps pushing until the administrator cancels the authorization.
fn of_nobody(app: &App, app_id: &str, first: bool) {
    app.metrics.count(Metric::UnboundPushes, app.clock.now());
    if first {
        tracing::warn!(
            app_id,
            "followers of {app_id} write to an account that is not bound here: nothing is stored until it is bound, or \
             its administrator cancels the authorization at mp.weixin.qq.com"
        );
    }
}

/// The event to store: the push and its passive reply.
fn event(fan: FanId<'_>, push: &Push, plaintext: &[u8], reply: Option<&Reply>, now: i64) -> StoredEvent {
    let passive = reply.and_then(|r| r.passive_xml(&push.from_user_name, &push.to_user_name, now));
    // a type that no passive reply supports is sent as a customer-service message
    let sends = match (&passive, reply) {
        (None, Some(Reply::Content(content))) => serde_json::to_string(content.as_json()).ok(),
        _ => None,
    };
    let open_id = if push.is_of_account() { "" } else { fan.open_id };
    StoredEvent {
        identity: push.identity(plaintext),
        kind: push.event_type(),
        at: push.create_time,
        app_id: fan.app_id.into(),
        open_id: open_id.into(),
        detail: Push::detail(plaintext),
        reply: passive,
        sends,
    }
}

/// Stores what happened to the account itself. No follower did it, so there is no fan and no job.
async fn store_of_account(app: &App, account: Owner<'_>, event: StoredEvent) -> Result<StoredEvent, Error> {
    Ok(match app.store.put_event(account, &event).await? {
        Stored::Seen(before) => *before,
        Stored::New => event,
    })
}

/// Stores the event and the fan concurrently, and queues the jobs. Returns the event as it was first stored.
/// All three are awaited, so that a failure of one does not abort the others.
async fn store(
    app: &App,
    fan: FanId<'_>,
    push: &Push,
    event: StoredEvent,
    now: i64,
) -> Result<StoredEvent, Error> {
    let touch = touch(push);
    // a time far in the future would make all later activity of the fan look old
    let at = push.create_time.min(now + CLOCK_SKEW);
    let (stored, touched, queued) = futures::join!(
        app.store.put_event(fan, &event),
        app.store.touch_fan(fan, &touch, at, &event.identity),
        queue_jobs(app, fan, push),
    );
    let (stored, (), ()) = (stored?, touched?, queued?);
    let event = match stored {
        Stored::Seen(before) => *before,
        Stored::New => event,
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

/// Queues what needs a call to WeChat or another function's store. A redelivery queues it again: these jobs
/// may come twice.
async fn queue_jobs(app: &App, fan: FanId<'_>, push: &Push) -> Result<(), Error> {
    match &push.kind {
        PushKind::Subscribe { .. } => {
            let job = ImportJob::FanV1 {
                app_id: fan.app_id.into(),
                tenant_id: fan.tenant.into(),
                open_id: fan.open_id.into(),
                at: push.create_time,
            };
            app.queues.follower(&job).await
        }
        PushKind::TemplateFinished { msg_id, status } if (1..=MAX_MESSAGE_ID).contains(&msg_id.len()) => {
            let job = SendJob::TemplateResultV1 {
                tenant_id: fan.tenant.into(),
                app_id: fan.app_id.into(),
                wechat_msg_id: msg_id.clone(),
                status: status.get(..status.floor_char_boundary(MAX_STATUS)).unwrap_or_default().into(),
            };
            app.queues.result(&job, fan.tenant).await
        }
        _ => Ok(()),
    }
}

/// Queues the customer-service message of a reply rule. Its id derives from the event, so that a redelivery
/// queues the same message.
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
    app.queues.send(&job, &message_id).await
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
    check: ReleaseCheck,
) -> Result<Answer, Rejection> {
    match check {
        ReleaseCheck::Reply(xml) => Ok(Answer::Reply(seal(app, opened, &xml))),
        ReleaseCheck::QueryAuthCode { code, open_id } => {
            let job = SendJob::ReleaseCheckV1 { app_id: app_id.into(), code, open_id };
            app.queues.result(&job, app_id).await.map_err(Rejection::Unavailable)?;
            Ok(Answer::Empty)
        }
    }
}
