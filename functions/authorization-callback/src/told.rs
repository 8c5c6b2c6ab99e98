//! Writes the audit log of authorizations, and log lines: who authorized what, how it ended, and which
//! permissions an account lost or gained by it.

use shared::{
    app::App,
    error::Error,
    ids,
    model::account::missing_permissions,
    store::{
        accounts::AccountRecord,
        audit::{Actor, AuditEntry, PREFIX, STARTED, SUCCEEDED},
    },
};

use super::complete::{Consent, Outcome};

/// The actor where the consent was given on WeChat's own pages and not on one of the hub's.
const AT_WECHAT: &str = "wechat";

/// The tenant, and its audit entry that has no outcome yet.
pub(crate) struct Entry(String, AuditEntry);

/// Records that an account was authorized on a tenant's page.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn begin(app: &App, consent: &Consent<'_>, app_id: &str) -> Result<Option<Entry>, Error> {
    let Some(page) = consent.page else { return Ok(None) };
    write(app, &page.tenant_id, app_id, "account.authorized", consent, &page.binding_id).await.map(Some)
}

/// Records that an account moves from `owner`, to whom a browser bound it, to the tenant of the right page.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn corrected(
    app: &App,
    consent: &Consent<'_>,
    owner: &AccountRecord,
) -> Result<Option<Entry>, Error> {
    let (tenant, app_id) = (&owner.tenant_id, &owner.app_id);
    tracing::warn!(
        app_id,
        "{app_id} was authorized on another tenant's page than the browser's, says WeChat"
    );
    // the other tenant's link must not be shown to this one
    write(app, tenant, app_id, "account.authorized_elsewhere", consent, AT_WECHAT).await.map(Some)
}

/// Records that a bound account has other permissions than `before`, which its tenant may not have caused.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn change(
    app: &App,
    consent: &Consent<'_>,
    before: &AccountRecord,
    now: &AccountRecord,
) -> Result<Option<Entry>, Error> {
    let (was, is) = (missing_permissions(&before.granted), missing_permissions(&now.granted));
    let lost: Vec<&str> = is.iter().filter(|name| !was.contains(name)).map(String::as_str).collect();
    let (tenant, app_id) = (&before.tenant_id, &before.app_id);
    let operation = if !lost.is_empty() {
        tracing::warn!(app_id, "WeChat took permissions from {app_id}: {}", lost.join(", "));
        "account.permissions_lost"
    } else if was.len() > is.len() {
        tracing::info!(app_id, "WeChat gave {app_id} permissions that it lacked");
        "account.permissions_gained"
    } else {
        return Ok(None);
    };
    let who = consent.page.map_or(AT_WECHAT, |page| page.binding_id.as_str());
    write(app, tenant, app_id, operation, consent, who).await.map(Some)
}

/// Records how it ended.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn end(app: &App, entry: Option<Entry>, outcome: &Outcome) -> Result<(), Error> {
    let Some(Entry(tenant, entry)) = entry else { return Ok(()) };
    let outcome = match outcome {
        Outcome::Bound => SUCCEEDED,
        Outcome::Refused { reason } => reason,
        Outcome::TooEarly => "page_too_old",
        Outcome::Suspended => "tenant_suspended",
        Outcome::NotOurs | Outcome::BadCode => "authorization_failed",
    };
    app.store.end_audit(&tenant, &entry, outcome).await
}

/// The same consent always gives the same entry, so a repetition writes nothing new: its time is when the
/// hub first learned of the consent or, where no page of the hub began it, that of WeChat's event.
async fn write(
    app: &App,
    tenant: &str,
    app_id: &str,
    operation: &str,
    consent: &Consent<'_>,
    who: &str,
) -> Result<Entry, Error> {
    let at = match consent.page {
        Some(page) => app.store.consented_at(page).await?,
        None => consent.at,
    } * 1000;
    let entry = AuditEntry {
        id: ids::derived_at(PREFIX, at, &[tenant, app_id, operation, consent.code.expose()]),
        at,
        actor: Actor::person(who),
        operation: operation.to_owned(),
        target: app_id.to_owned(),
        outcome: STARTED.to_owned(),
    };
    app.store.audit(tenant, &entry).await?;
    Ok(Entry(tenant.to_owned(), entry))
}
