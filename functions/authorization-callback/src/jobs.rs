//! What an authorization event left to do.

use std::time::Duration;

use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    function::SqsEvent,
    given_up,
    queue::{
        Target,
        batch::{self, Item},
        jobs::AuthorizationJob,
    },
    secret::Secret,
    store::consents::{self, OpenedPage},
    tokens,
    wechat::errcode::is_withdrawn,
};

use super::complete::{Consent, Messenger, Outcome, complete};

/// Longest wait between two tries: a queue is no place to wait in for long. With the receives that `template.yaml` gives
/// the queue, a job waits for over an hour, as long as an authorization code lives.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// What became of a job.
enum Done {
    Yes,
    /// Nobody can tell yet.
    Later,
}

/// No call to WeChat begins that could end after `until`.
pub(crate) async fn run(app: &App, event: SqsEvent, until: Deadline) -> Vec<String> {
    let undone = batch::each(batch::items::<AuthorizationJob>(event), 1, |job, item| async move {
        let done = match job {
            AuthorizationJob::AuthorizedV1 { app_id, code, pre_auth_code } => {
                authorized(app, &app_id, &code, pre_auth_code.expose(), app.clock.unix(), until).await
            }
            AuthorizationJob::AuthorizedV2 { app_id, code, pre_auth_code, at } => {
                authorized(app, &app_id, &code, pre_auth_code.expose(), at, until).await
            }
            AuthorizationJob::UnauthorizedV1 { app_id, at } => unauthorized(app, &app_id, at, until).await,
            AuthorizationJob::DeletedV1 { app_id } => deleted(app, &app_id).await,
        };
        settle(app, &item, done).await
    });
    given_up::undone(app, Target::Authorization, undone.await).await
}

/// Whatever goes wrong, the job comes again: an outage ends, a wrong secret or address is put right, and what is wrong for
/// good ends in the dead letters, where an operator sees it.
async fn settle(app: &App, item: &Item<()>, done: Result<Done, Error>) -> Result<(), String> {
    let why = match done {
        Ok(Done::Yes) => return Ok(()),
        Ok(Done::Later) => "another consent is under way".to_owned(),
        Err(error) => {
            tracing::warn!(%error, "an authorization event is tried again: {error}");
            error.to_string()
        }
    };
    let wait = backoff(item.receive_count);
    if let Err(error) = app.queues.postpone_authorization(&item.receipt_handle, wait).await {
        tracing::warn!(%error, "it comes again later than it could: {error}");
    }
    Err(why)
}

/// Twice as long each time: 2 s, 4 s, …, [`LONGEST_WAIT`].
fn backoff(receives: u32) -> Duration {
    Duration::from_secs(2 << receives.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

/// The page whose pre_auth_code WeChat's event of the time `at` names.
pub(crate) async fn page_of(app: &App, pre_auth_code: &str, at: i64) -> Result<Option<OpenedPage>, Error> {
    if pre_auth_code.is_empty() {
        return Ok(None);
    }
    let page = app.store.opened_page(&consents::fingerprint(pre_auth_code)).await?;
    Ok(page.filter(|page| page.page().may_have_led_to(at)))
}

/// Binds for the tenant whose page the administrator used; without one, renews what is bound and binds nothing.
async fn authorized(
    app: &App,
    app_id: &str,
    code: &Secret,
    pre_auth_code: &str,
    at: i64,
    until: Deadline,
) -> Result<Done, Error> {
    let page = page_of(app, pre_auth_code, at).await?;
    if page.is_none() && !app.store.any_account(app_id).await?.is_some_and(|a| a.standing().bound) {
        // the code is left to the browser, which may show that it opened a page
        tracing::warn!(app_id, "{app_id} was authorized at WeChat, and nobody here has it bound");
        app.store.binding_settled(app_id).await?;
        return Ok(Done::Yes);
    }
    let consent = Consent { code, page: page.as_ref(), messenger: Messenger::Event(app_id), at };
    let outcome = complete(app, &consent, until).await?; // the page tells the administrator how it ended
    if let (Some(page), false) = (&page, matches!(outcome, Outcome::Bound | Outcome::Refused { .. })) {
        app.store.authorization_came_to_nothing(page).await?;
    }
    app.store.binding_settled(app_id).await?;
    Ok(Done::Yes)
}

/// WeChat says whether the authorization stands: an event that is older than the newest consent changes nothing, and
/// whose clock is ahead is of no matter.
async fn unauthorized(app: &App, app_id: &str, at: i64, until: Deadline) -> Result<Done, Error> {
    let component = &app.config.component.app_id;
    let asked_at = app.clock.unix();
    let asked = tokens::with_component_until(app, until, |token| async move {
        app.wechat.get_authorizer_info(&token, component, app_id).await
    })
    .await;
    match asked {
        Ok(_) => Ok(Done::Yes),
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_withdrawn) => {
            tracing::info!(app_id, event_at = at, "{app_id} is unauthorized, says WeChat");
            let Some(account) = app.store.any_account(app_id).await?.filter(|a| a.standing().bound) else {
                return Ok(Done::Yes); // who binds it from now on asks WeChat first
            };
            // an older event means nothing: it was withdrawn once more, of which no event has come
            let at = if at < account.authorized_at() { asked_at } else { at.min(asked_at) };
            let unbound = app.store.unbind_account(app_id, at, asked_at).await?;
            // not where WeChat said in this very second that it stands
            Ok(if unbound { Done::Yes } else { Done::Later })
        }
        Err(error) => Err(error),
    }
}

/// Nobody needs the tokens of an account that its tenant deleted, unless it is being bound again.
async fn deleted(app: &App, app_id: &str) -> Result<Done, Error> {
    let Some(tokens) = app.store.authorizer(app_id).await? else { return Ok(Done::Yes) };
    let consent = app.store.consent_event(app_id).await?;
    if consent.is_some_and(|consent| app.clock.unix() < consent.under_way_until) {
        return Ok(Done::Later);
    }
    // read after the tokens: those of a binding since then are newer, and stay
    if app.store.any_account(app_id).await?.is_none_or(|account| account.deleted) {
        app.store.forget_authorizer(app_id, &tokens).await?;
    }
    Ok(Done::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_for_as_long_as_an_authorization_code_lives() {
        let most = Target::Authorization.receives();
        let all: Duration = (1..most).map(backoff).sum();
        assert!(all >= Duration::from_mins(60), "{all:?}");
        assert!((1..most).all(|n| backoff(n) <= LONGEST_WAIT && backoff(n) <= backoff(n + 1)));
        assert_eq!(backoff(1), Duration::from_secs(2));
    }
}
