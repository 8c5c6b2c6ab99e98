//! The jobs that authorization events queue.

use shared::{
    deadline::Deadline,
    error::Error,
    function::SqsEvent,
    job_failures,
    model::authorization::{self, AuthorizationPage},
    queue::{
        JobQueue,
        batch::{self, ReceivedJob},
        jobs::AuthorizationJob,
    },
    retry::backoff,
    secret::Secret,
    services::Services,
    tokens,
    wechat::errcode::is_unauthorized,
};

use super::{
    complete::complete_authorization,
    consent::{ConsentOutcome, ConsentSource, IncomingConsent},
};

/// The result of a job.
enum AuthorizationJobOutcome {
    Done,
    /// It cannot be decided yet; try again.
    NotYet,
}

/// Starts no call to WeChat that could end after `until`.
pub(crate) async fn run(app: &Services, event: SqsEvent, until: Deadline) -> Vec<String> {
    let undone = batch::run_each(batch::read_batch::<AuthorizationJob>(event), 1, |job, item| async move {
        let done = match job {
            AuthorizationJob::AuthorizedV1 { app_id, code, pre_auth_code } => {
                handle_authorized(app, &app_id, &code, pre_auth_code.expose(), app.clock.unix(), until).await
            }
            AuthorizationJob::AuthorizedV2 { app_id, code, pre_auth_code, at } => {
                handle_authorized(app, &app_id, &code, pre_auth_code.expose(), at, until).await
            }
            AuthorizationJob::UnauthorizedV1 { app_id, at } => {
                handle_unauthorized(app, &app_id, at, until).await
            }
            AuthorizationJob::DeletedV1 { app_id } => handle_deleted(app, &app_id).await,
        };
        postpone_unless_done(app, &item, done).await
    });
    job_failures::batch_item_failures(app, JobQueue::Authorization, undone.await).await
}

/// A failed job is always tried again: an outage ends, an operator corrects a wrong secret or address. A
/// permanent fault ends in the dead-letter queue, where an operator sees it.
async fn postpone_unless_done(
    app: &Services,
    item: &ReceivedJob<()>,
    done: Result<AuthorizationJobOutcome, Error>,
) -> Result<(), String> {
    let reason = match done {
        Ok(AuthorizationJobOutcome::Done) => return Ok(()),
        Ok(AuthorizationJobOutcome::NotYet) => "another consent is under way".to_owned(),
        Err(error) => {
            tracing::warn!(%error, "an authorization event is tried again: {error}");
            error.to_string()
        }
    };
    let wait = backoff(item.receive_count);
    if let Err(error) = app.queues.postpone_authorization(&item.receipt_handle, wait).await {
        tracing::warn!(%error, "it comes again later than it could: {error}");
    }
    Err(reason)
}

/// The page that WeChat's event, dated `at`, names by its pre_auth_code.
pub(crate) async fn page_by_pre_auth_code(
    app: &Services,
    pre_auth_code: &str,
    at: i64,
) -> Result<Option<AuthorizationPage>, Error> {
    if pre_auth_code.is_empty() {
        return Ok(None);
    }
    let page = app.store.consents().page(&authorization::code_fingerprint(pre_auth_code)).await?;
    Ok(page.filter(|page| page.for_consent().may_have_asked_at(at)))
}

/// Binds the account for the tenant whose page was used. Without a page it only renews an existing binding.
async fn handle_authorized(
    app: &Services,
    app_id: &str,
    code: &Secret,
    pre_auth_code: &str,
    at: i64,
    until: Deadline,
) -> Result<AuthorizationJobOutcome, Error> {
    let page = page_by_pre_auth_code(app, pre_auth_code, at).await?;
    if page.is_none()
        && !app.store.accounts().of_any_tenant(app_id).await?.is_some_and(|a| a.for_consent().bound)
    {
        // leave the code to the browser, which may prove that it opened a page
        tracing::warn!(app_id, "{app_id} was authorized at WeChat, and nobody here has it bound");
        app.store.consents().clear_binding_in_progress(app_id).await?;
        return Ok(AuthorizationJobOutcome::Done);
    }
    let consent = IncomingConsent { code, source: ConsentSource::Event { app_id, page: page.as_ref() }, at };
    let outcome = complete_authorization(app, &consent, until).await?; // the page tells the administrator how it ended
    if let (Some(page), false) =
        (&page, matches!(outcome, ConsentOutcome::Bound | ConsentOutcome::Refused(_)))
    {
        app.store.bindings().clear_authorization_event(page).await?;
    }
    app.store.consents().clear_binding_in_progress(app_id).await?;
    Ok(AuthorizationJobOutcome::Done)
}

/// Asks WeChat whether the authorization stands, because events come out of order: an event older than the
/// newest consent must change nothing, and a clock that runs ahead must not matter.
async fn handle_unauthorized(
    app: &Services,
    app_id: &str,
    at: i64,
    until: Deadline,
) -> Result<AuthorizationJobOutcome, Error> {
    let component = &app.config.component.app_id;
    let asked_at = app.clock.unix();
    let info = tokens::with_component_until(app, until, |token| async move {
        app.wechat.get_authorizer_info(&token, component, app_id).await
    })
    .await;
    match info {
        Ok(_) => Ok(AuthorizationJobOutcome::Done),
        Err(Error::WeChat(error)) if error.errcode().is_some_and(is_unauthorized) => {
            tracing::info!(app_id, event_at = at, "{app_id} is unauthorized, says WeChat");
            let Some(account) =
                app.store.accounts().of_any_tenant(app_id).await?.filter(|a| a.for_consent().bound)
            else {
                return Ok(AuthorizationJobOutcome::Done); // who binds it from now on asks WeChat first
            };
            // the event is older than the consent, yet WeChat says unauthorized: a newer event was lost
            let at = if at < account.authorized_at() { asked_at } else { at.min(asked_at) };
            let unbound = app.store.accounts().unbind(app_id, at, asked_at).await?;
            // not unbound if a consent was confirmed within this same second
            Ok(if unbound { AuthorizationJobOutcome::Done } else { AuthorizationJobOutcome::NotYet })
        }
        Err(error) => Err(error),
    }
}

/// Deletes the tokens of an account that its tenant deleted, unless it is being bound again.
async fn handle_deleted(app: &Services, app_id: &str) -> Result<AuthorizationJobOutcome, Error> {
    let Some(tokens) = app.store.authorizers().get(app_id).await? else {
        return Ok(AuthorizationJobOutcome::Done);
    };
    let consent = app.store.consents().newest_event(app_id).await?;
    if consent.is_some_and(|consent| app.clock.unix() < consent.under_way_until) {
        return Ok(AuthorizationJobOutcome::NotYet);
    }
    // read after the tokens, so that tokens of a newer binding are not deleted
    if app.store.accounts().of_any_tenant(app_id).await?.is_none_or(|account| account.deleted) {
        app.store.authorizers().delete_unbound(app_id, &tokens).await?;
    }
    Ok(AuthorizationJobOutcome::Done)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_job_waits_for_as_long_as_an_authorization_code_lives() {
        let most = JobQueue::Authorization.max_receive_count();
        let all: Duration = (1..most).map(backoff).sum();
        assert!(all >= Duration::from_mins(60), "{all:?}");
    }
}
