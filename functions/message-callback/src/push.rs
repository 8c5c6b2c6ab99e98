//! The steps of one push.

use shared::{
    envelope::{CallbackError, CallbackQuery, DecryptedPush, is_stale},
    metrics::Metric,
    model::{
        account::AccountRecord,
        fan::FanId,
        push::Push,
        push_decision::decide,
        release_check::{self, ReleaseCheck},
    },
    queue::jobs::SendJob,
    services::Services,
    store::account_entries::Addressee,
};

use crate::{
    commit::commit,
    response::{PushRejection, PushResponse},
};

/// The longest app id, which becomes part of table keys; real ones have 18 bytes.
const MAX_APP_ID_BYTES: usize = 64;

/// Opens a push, decides what it leaves, writes that, and replies.
pub(crate) async fn handle_push(
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
    let entry = match app.store.accounts().addressee(app_id).await.map_err(PushRejection::Unavailable)? {
        Addressee::Bound(entry) => entry,
        Addressee::BeingBound(account) => {
            check_recipient(account.as_deref(), &push)?;
            return Err(PushRejection::BeingBound);
        }
        Addressee::Unbound { account, first_seen } => {
            check_recipient(account.as_deref(), &push)?;
            if !release_check::is_test_account(app_id) {
                count_unbound_push(app, app_id, first_seen);
            }
            return Ok(PushResponse::Success);
        }
    };
    check_recipient(Some(&entry.account), &push)?;
    let fan = FanId { tenant: &entry.account.tenant_id, app_id, open_id: &push.from_user_name };
    let decision = decide(&push, &entry.rules, now);
    let reply = commit(app, fan, decision).await.map_err(PushRejection::Unavailable)?;
    Ok(reply.map_or(PushResponse::Success, |xml| PushResponse::Reply(seal_reply(app, &opened, &xml))))
}

fn check_recipient(account: Option<&AccountRecord>, push: &Push<'_>) -> Result<(), PushRejection> {
    match account {
        Some(account) if account.original_id != push.to_user_name => Err(PushRejection::WrongAccount),
        _ => Ok(()),
    }
}

/// A push for an account that is not bound. Any response but `success` would show its followers an error,
/// and WeChat keeps pushing until the administrator cancels the authorization.
fn count_unbound_push(app: &Services, app_id: &str, first_seen: bool) {
    app.metrics.count(Metric::UnboundPushes, app.clock.now());
    if first_seen {
        tracing::warn!(
            app_id,
            "followers of {app_id} write to an account that is not bound here: nothing is stored until it is bound, or \
             its administrator cancels the authorization at mp.weixin.qq.com"
        );
    }
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
