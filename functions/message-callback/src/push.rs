//! The steps of one push.

use shared::{
    envelope::{CallbackError, CallbackQuery, DecryptedPush, is_stale},
    error::Error,
    ids,
    metrics::Metric,
    model::{
        content::Reply,
        push::{Push, PushKind},
        release_check::{self, ReleaseCheck},
        window::WindowKind,
    },
    queue::jobs::{FollowerJob, SendJob},
    services::Services,
    store::{
        account_cache::Addressee,
        accounts::AccountRecord,
        fans::{FanActivity, FanId},
        timeline::{CLOCK_SKEW_SECONDS, EventInsert, StoredEvent, TimelineOwner},
    },
};

use super::{PushRejection, PushResponse};

/// The longest app id, which becomes part of table keys; real ones have 18 bytes.
const MAX_APP_ID_BYTES: usize = 64;
/// The longest message id of WeChat's, which becomes part of table keys; real ones have at most 20 digits.
const MAX_MESSAGE_ID_BYTES: usize = 64;
/// The bytes that are read of a template message's delivery status.
const MAX_STATUS_BYTES: usize = 256;

pub(super) async fn handle_push(
    app: &Services,
    app_id: &str,
    query: &CallbackQuery,
    body: &[u8],
) -> Result<PushResponse, PushRejection> {
    let now = app.clock.unix();
    if app.config.reject_stale_callbacks && is_stale(query.timestamp.as_deref().unwrap_or(""), now) {
        return Err(PushRejection::Refused(CallbackError::Stale));
    }
    let opened = app.envelope.open(query, body).map_err(PushRejection::Refused)?;
    let push = Push::parse(&opened.plaintext).map_err(PushRejection::Refused)?;
    if app_id.len() > MAX_APP_ID_BYTES {
        return Err(PushRejection::UnknownAccount);
    }
    if let Some(check) = release_check::answer_to_check(app_id, &push) {
        return answer_release_check(app, app_id, &opened, check).await;
    }
    let entry = match app.store.addressee(app_id).await.map_err(PushRejection::Unavailable)? {
        Addressee::Bound(entry) => entry,
        Addressee::BeingBound(account) => {
            check_recipient(account.as_deref(), &push)?;
            return Err(PushRejection::BeingBound);
        }
        Addressee::Unbound { account, first_seen: first } => {
            check_recipient(account.as_deref(), &push)?;
            if !release_check::is_test_account(app_id) {
                count_unbound_push(app, app_id, first);
            }
            return Ok(PushResponse::Success);
        }
    };
    check_recipient(Some(&entry.account), &push)?;
    let tenant = entry.account.tenant_id.as_str();
    let fan = FanId { tenant, app_id, open_id: &push.from_user_name };
    let event = timeline_event(fan, &push, &opened.plaintext, entry.rules.choose(&push), now);
    let stored = if push.is_about_account() {
        store_account_event(app, TimelineOwner::Account { tenant, app_id }, event).await
    } else {
        store_event_and_fan(app, fan, &push, event, now).await
    };
    Ok(match stored.map_err(PushRejection::Unavailable)?.reply {
        Some(xml) => PushResponse::Reply(seal_reply(app, &opened, &xml)),
        None => PushResponse::Success,
    })
}

fn check_recipient(account: Option<&AccountRecord>, push: &Push) -> Result<(), PushRejection> {
    match account {
        Some(account) if account.original_id != push.to_user_name => Err(PushRejection::WrongAccount),
        _ => Ok(()),
    }
}

/// A push for an account that is not bound. Any response but `success` would show its followers an error
/// (contract 18), and WeChat keeps pushing until the administrator cancels the authorization.
fn count_unbound_push(app: &Services, app_id: &str, first: bool) {
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
fn timeline_event(
    fan: FanId<'_>,
    push: &Push,
    plaintext: &[u8],
    reply: Option<&Reply>,
    now: i64,
) -> StoredEvent {
    let passive = reply.and_then(|r| r.passive_xml(&push.from_user_name, &push.to_user_name, now));
    // a type that no passive reply supports is sent as a customer-service message
    let sends = match (&passive, reply) {
        (None, Some(Reply::Content(content))) => serde_json::to_string(content.as_json()).ok(),
        _ => None,
    };
    let open_id = if push.is_about_account() { "" } else { fan.open_id };
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
async fn store_account_event(
    app: &Services,
    account: TimelineOwner<'_>,
    event: StoredEvent,
) -> Result<StoredEvent, Error> {
    Ok(match app.store.insert_event_once(account, &event).await? {
        EventInsert::Existing(before) => *before,
        EventInsert::New => event,
    })
}

/// Stores the event and the fan concurrently, and queues the jobs. Returns the event as it was first stored.
/// All three are awaited, so that a failure of one does not abort the others.
async fn store_event_and_fan(
    app: &Services,
    fan: FanId<'_>,
    push: &Push,
    event: StoredEvent,
    now: i64,
) -> Result<StoredEvent, Error> {
    let activity = fan_activity(push);
    // a time far in the future would make all later activity of the fan look old
    let at = push.create_time.min(now + CLOCK_SKEW_SECONDS);
    let (stored, touched, queued) = futures::join!(
        app.store.insert_event_once(fan, &event),
        app.store.record_fan_activity(fan, &activity, at, &event.identity),
        queue_jobs(app, fan, push),
    );
    let (stored, (), ()) = (stored?, touched?, queued?);
    let event = match stored {
        EventInsert::Existing(before) => *before,
        EventInsert::New => event,
    };
    if let Some(content) = &event.sends {
        queue_rule_reply(app, fan, &event, content).await?;
    }
    Ok(event)
}

fn fan_activity(push: &Push) -> FanActivity {
    match (&push.kind, push.opened_window()) {
        (PushKind::Unsubscribe { .. }, _) => FanActivity::Unfollowed,
        (_, Some(WindowKind::Follow)) => FanActivity::Followed { scene: push.scene().map(str::to_owned) },
        (_, Some(WindowKind::Message)) => FanActivity::Message,
        (_, Some(WindowKind::Menu)) => FanActivity::Menu,
        (_, None) => FanActivity::Other,
    }
}

/// Queues what needs a call to WeChat or another function's store. A redelivery queues it again: these jobs
/// may come twice.
async fn queue_jobs(app: &Services, fan: FanId<'_>, push: &Push) -> Result<(), Error> {
    match &push.kind {
        PushKind::Subscribe { .. } => {
            let job = FollowerJob::FanV1 {
                app_id: fan.app_id.into(),
                tenant_id: fan.tenant.into(),
                open_id: fan.open_id.into(),
                at: push.create_time,
            };
            app.queues.follower(&job).await
        }
        PushKind::TemplateFinished { msg_id, status }
            if (1..=MAX_MESSAGE_ID_BYTES).contains(&msg_id.len()) =>
        {
            let job = SendJob::TemplateResultV1 {
                tenant_id: fan.tenant.into(),
                app_id: fan.app_id.into(),
                wechat_msg_id: msg_id.clone(),
                status: status.get(..status.floor_char_boundary(MAX_STATUS_BYTES)).unwrap_or_default().into(),
            };
            app.queues.result(&job, fan.tenant).await
        }
        _ => Ok(()),
    }
}

/// Queues the customer-service message of a reply rule. Its id derives from the event, so that a redelivery
/// queues the same message.
async fn queue_rule_reply(
    app: &Services,
    fan: FanId<'_>,
    event: &StoredEvent,
    content: &str,
) -> Result<(), Error> {
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

fn seal_reply(app: &Services, opened: &DecryptedPush, xml: &str) -> String {
    let (mut random, mut nonce) = ([0; 16], [0; 8]);
    app.random.fill(&mut random);
    app.random.fill(&mut nonce);
    let nonce = u64::from_le_bytes(nonce).to_string();
    app.envelope.seal_reply(opened.key, xml, app.clock.unix(), &nonce, random)
}

async fn answer_release_check(
    app: &Services,
    app_id: &str,
    opened: &DecryptedPush,
    check: ReleaseCheck,
) -> Result<PushResponse, PushRejection> {
    match check {
        ReleaseCheck::Reply(xml) => Ok(PushResponse::Reply(seal_reply(app, opened, &xml))),
        ReleaseCheck::QueryAuthCode { code, open_id } => {
            let job = SendJob::ReleaseCheckV1 { app_id: app_id.into(), code, open_id };
            app.queues.result(&job, app_id).await.map_err(PushRejection::Unavailable)?;
            Ok(PushResponse::Empty)
        }
    }
}
