//! Writes the audit log of authorizations, and log lines: who authorized what, how it ended, and which
//! permissions an account lost or gained by it.

use shared::{
    error::Error,
    ids,
    model::{
        account::AccountRecord,
        audit::{AUDIT_ID_PREFIX, Actor, AuditEntry, STARTED, SUCCEEDED},
        binding_refusal::BindingRefusal,
        permission::missing_permissions,
    },
    services::Services,
};

use super::consent::{ConsentOutcome, IncomingConsent};

/// The actor where the consent was given on WeChat's own pages, or on another tenant's.
const ACTOR_WECHAT: &str = "wechat";

/// The tenant, and its audit entry that has no outcome yet.
pub(crate) struct StartedAuditEntry(String, AuditEntry);

/// Records that an account was authorized on a tenant's page.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn begin_authorization(
    app: &Services,
    consent: &IncomingConsent<'_>,
    app_id: &str,
) -> Result<Option<StartedAuditEntry>, Error> {
    let Some(page) = consent.page() else { return Ok(None) };
    write_started(app, &page.tenant_id, app_id, "account.authorized", consent).await.map(Some)
}

/// Records that an account moves from `owner`, to whom a browser bound it, to the tenant of the right page.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn begin_hand_over(
    app: &Services,
    consent: &IncomingConsent<'_>,
    owner: &AccountRecord,
) -> Result<Option<StartedAuditEntry>, Error> {
    let (tenant, app_id) = (&owner.tenant_id, &owner.app_id);
    tracing::warn!(
        app_id,
        "{app_id} was authorized on another tenant's page than the browser's, says WeChat"
    );
    write_started(app, tenant, app_id, "account.authorized_elsewhere", consent).await.map(Some)
}

/// Records that a bound account has other permissions than `before`, which its tenant may not have caused.
///
/// # Errors
/// [`Error::Store`]: then nothing may be done.
pub(crate) async fn begin_permission_change(
    app: &Services,
    consent: &IncomingConsent<'_>,
    before: &AccountRecord,
    now: &AccountRecord,
) -> Result<Option<StartedAuditEntry>, Error> {
    let (missing_before, missing_now) =
        (missing_permissions(&before.granted), missing_permissions(&now.granted));
    let lost: Vec<&str> =
        missing_now.iter().filter(|name| !missing_before.contains(name)).map(String::as_str).collect();
    let (tenant, app_id) = (&before.tenant_id, &before.app_id);
    let operation = if !lost.is_empty() {
        tracing::warn!(app_id, "WeChat took permissions from {app_id}: {}", lost.join(", "));
        "account.permissions_lost"
    } else if missing_before.len() > missing_now.len() {
        tracing::info!(app_id, "WeChat gave {app_id} permissions that it lacked");
        "account.permissions_gained"
    } else {
        return Ok(None);
    };
    write_started(app, tenant, app_id, operation, consent).await.map(Some)
}

/// Records how it ended.
///
/// # Errors
/// [`Error::Store`].
pub(crate) async fn record_outcome(
    app: &Services,
    entry: Option<StartedAuditEntry>,
    outcome: &ConsentOutcome,
) -> Result<(), Error> {
    let Some(StartedAuditEntry(tenant, entry)) = entry else { return Ok(()) };
    let outcome = match outcome {
        ConsentOutcome::Bound => SUCCEEDED,
        ConsentOutcome::Refused(refusal) => refusal.name(),
        ConsentOutcome::PageTooOld => "page_too_old",
        ConsentOutcome::TenantSuspended => "tenant_suspended",
        ConsentOutcome::AnotherPage | ConsentOutcome::InvalidCode => {
            BindingRefusal::AuthorizationFailed.name()
        }
    };
    app.store.audit().end(&tenant, &entry, outcome).await
}

/// The same consent always gives the same entry, so a repetition writes nothing new: its time is when the
/// hub first learned of the consent or, where no page of the hub began it, that of WeChat's event.
async fn write_started(
    app: &Services,
    tenant: &str,
    app_id: &str,
    operation: &str,
    consent: &IncomingConsent<'_>,
) -> Result<StartedAuditEntry, Error> {
    let at = match consent.page() {
        Some(page) => app.store.consents().record_time(page).await?,
        None => consent.at,
    } * 1000;
    // another tenant's link must not be shown to this one
    let page = consent.page().filter(|page| page.tenant_id == tenant);
    let actor = page.map_or(ACTOR_WECHAT, |page| page.binding_id.as_str());
    let entry = AuditEntry {
        id: ids::derived_at(AUDIT_ID_PREFIX, at, &[tenant, app_id, operation, consent.code.expose()]),
        at,
        actor: Actor::person(actor),
        operation: operation.to_owned(),
        target: app_id.to_owned(),
        outcome: STARTED.to_owned(),
    };
    app.store.audit().begin(tenant, &entry).await?;
    Ok(StartedAuditEntry(tenant.to_owned(), entry))
}
