//! What an authorization event left to do.

use std::time::Duration;

use shared::{
    app::App,
    error::{Error, Retry},
    function::SqsEvent,
    model::account::AccountStatus,
    queue::{
        batch::{self, Item},
        jobs::AuthorizationJob,
    },
    secret::Secret,
    store::bindings::BindingStatus,
    tokens,
};

use super::complete::{Outcome, complete};

pub(crate) async fn run(app: &App, event: SqsEvent) -> Vec<String> {
    batch::each(batch::items::<AuthorizationJob>(event), 1, |job, item| async move {
        let done = match job {
            AuthorizationJob::AuthorizedV1 { app_id, code, pre_auth_code } => {
                authorized(app, &app_id, &Secret::new(code), &pre_auth_code).await
            }
            AuthorizationJob::UnauthorizedV1 { app_id, at } => unauthorized(app, &app_id, at).await,
        };
        settle(app, &item, done).await
    })
    .await
}

async fn settle(app: &App, item: &Item<()>, done: Result<(), Error>) -> bool {
    let Err(error) = done else { return true };
    match error.retry() {
        Retry::Never => {
            tracing::error!(%error, "an authorization event could not be followed: {error}");
            true
        }
        Retry::After(wait) => {
            tracing::warn!(%error, "an authorization event is tried again: {error}");
            if let Err(error) = app
                .queues
                .postpone_authorization(&item.receipt_handle, wait.max(Duration::from_secs(1)))
                .await
            {
                tracing::warn!(%error, "it comes again later than it could: {error}");
            }
            false
        }
    }
}

/// Binds for the binding whose page the administrator used; without one, for the tenant that has the account.
async fn authorized(app: &App, app_id: &str, code: &Secret, pre_auth_code: &str) -> Result<(), Error> {
    let now = app.clock.now();
    let binding = app.store.binding_of_pre_auth_code(pre_auth_code).await?;
    let page = binding.as_ref().map(|b| Page {
        tenant: &b.tenant_id,
        pending: (b.status_at(now) == BindingStatus::Pending).then_some(b.id.as_str()),
    });
    let account = app.store.any_account(app_id).await?.filter(|a| !a.deleted);
    let owner = account.as_ref().map(|a| (a.tenant_id.as_str(), a.status == AccountStatus::Bound));
    let Some((tenant, pending)) = meant(page, owner) else {
        tracing::warn!(app_id, "{app_id} was authorized, but for nobody here");
        return Ok(());
    };
    match complete(app, tenant, pending, code, Some(app_id)).await? {
        Outcome::Bound { .. } | Outcome::Refused { .. } => Ok(()),
        // the browser's return was first, or the job came twice
        Outcome::BadCode => Ok(()),
    }
}

/// The page that an administrator used.
#[derive(Clone, Copy)]
struct Page<'a> {
    tenant: &'a str,
    /// The binding's id, while it waits for its end.
    pending: Option<&'a str>,
}

/// The tenant that an authorization is for, and the binding that it ends. `owner` has the account, and whether it is
/// bound. A page of which the end is known renews what is bound, for WeChat's old tokens are worth nothing now; but
/// consent to one tenant binds for no other.
fn meant<'a>(page: Option<Page<'a>>, owner: Option<(&'a str, bool)>) -> Option<(&'a str, Option<&'a str>)> {
    match (page, owner) {
        (Some(Page { tenant, pending: Some(id) }), _) => Some((tenant, Some(id))),
        (Some(Page { tenant, pending: None }), Some((owner, bound))) if bound || owner == tenant => {
            Some((owner, None))
        }
        (Some(_), _) => None,
        (None, owner) => owner.map(|(owner, _)| (owner, None)), // WeChat's own pages
    }
}

/// An event older than the account's binding: WeChat says whether the authorization stands.
async fn unauthorized(app: &App, app_id: &str, at: i64) -> Result<(), Error> {
    let component = &app.config.component.app_id;
    let asked = tokens::with_component(app, |token| async move {
        app.wechat.get_authorizer_info(&token, component, app_id).await
    })
    .await;
    match asked {
        Ok(_) => Ok(()),
        Err(Error::WeChat(error)) if error.errcode() == Some(61003) => {
            tracing::info!(app_id, event_at = at, "{app_id} is unauthorized, says WeChat");
            app.store.unbind_account(app_id, app.clock.unix()).await?;
            app.store.stop_refreshing(app_id).await
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_is_for_the_tenant_whose_page_was_used() {
        let page = |pending| Some(Page { tenant: "mine", pending });
        for (what, page, owner, is) in [
            ("a new account", page(Some("bnd")), None, Some(("mine", Some("bnd")))),
            ("one's own once more", page(Some("bnd")), Some(("mine", true)), Some(("mine", Some("bnd")))),
            (
                "another's, to be refused",
                page(Some("bnd")),
                Some(("other", true)),
                Some(("mine", Some("bnd"))),
            ),
            ("another's, unbound, refused already", page(None), Some(("other", false)), None),
            (
                "another's, bound, too late for the page",
                page(None),
                Some(("other", true)),
                Some(("other", None)),
            ),
            ("the browser was faster", page(None), Some(("mine", true)), Some(("mine", None))),
            ("unbound since, too late for the page", page(None), Some(("mine", false)), Some(("mine", None))),
            ("deleted since", page(None), None, None),
            ("changed at WeChat", None, Some(("other", true)), Some(("other", None))),
            ("no page of ours", None, None, None),
        ] {
            assert_eq!(meant(page, owner), is, "{what}");
        }
    }
}
