//! The jobs that authorization events queue.

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

/// The longest wait between two tries. With the number of receives in `template.yaml` a job is tried for
/// over an hour, which is as long as an authorization code is valid.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// The result of a job.
enum Done {
    Yes,
    /// It cannot be decided yet; try again.
    Later,
}

/// Starts no call to WeChat that could end after `until`.
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

/// A failed job is always tried again: an outage ends, an operator corrects a wrong secret or address. A
/// permanent fault ends in the dead-letter queue, where an operator sees it.
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

/// Doubles with each receive, from 2 s up to [`MAX_BACKOFF`].
fn backoff(receives: u32) -> Duration {
    Duration::from_secs(2 << receives.saturating_sub(1).min(10)).min(LONGEST_WAIT)
}

/// The page that WeChat's event, dated `at`, names by its pre_auth_code.
pub(crate) async fn page_of(app: &App, pre_auth_code: &str, at: i64) -> Result<Option<OpenedPage>, Error> {
    if pre_auth_code.is_empty() {
        return Ok(None);
    }
    let page = app.store.opened_page(&consents::fingerprint(pre_auth_code)).await?;
    Ok(page.filter(|page| page.page().may_have_led_to(at)))
}

/// Binds the account for the tenant whose page was used. Without a page it only renews an existing binding.
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
        // leave the code to the browser, which may prove that it opened a page
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

/// Asks WeChat whether the authorization stands, because events come out of order: an event older than the
/// newest consent must change nothing, and a clock that runs ahead must not matter.
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
            // the event is older than the consent, yet WeChat says unauthorized: a newer event was lost
            let at = if at < account.authorized_at() { asked_at } else { at.min(asked_at) };
            let unbound = app.store.unbind_account(app_id, at, asked_at).await?;
            // not unbound if a consent was confirmed within this same second
            Ok(if unbound { Done::Yes } else { Done::Later })
        }
        Err(error) => Err(error),
    }
}

/// Deletes the tokens of an account that its tenant deleted, unless it is being bound again.
async fn deleted(app: &App, app_id: &str) -> Result<Done, Error> {
    let Some(tokens) = app.store.authorizer(app_id).await? else { return Ok(Done::Yes) };
    let consent = app.store.consent_event(app_id).await?;
    if consent.is_some_and(|consent| app.clock.unix() < consent.under_way_until) {
        return Ok(Done::Later);
    }
    // read after the tokens, so that tokens of a newer binding are not deleted
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
