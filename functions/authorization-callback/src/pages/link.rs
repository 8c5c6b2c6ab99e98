//! A binding's link: what it leads to, and the names that its pages show.

use shared::{
    error::Error,
    model::{binding::Binding, tenant::TenantStatus},
    services::Services,
    texts::{Lang, bind::THE_ACCOUNT},
};

/// The longest binding id that is looked up, in bytes; ours have 30.
const MAX_BINDING_ID_BYTES: usize = 64;

/// What a link leads to.
#[derive(Clone)]
pub(super) struct LinkWithTenant {
    pub(super) binding: Binding,
    /// The name of its tenant, as its operator spelled it.
    pub(super) tenant: String,
}

pub(super) enum LinkLookup {
    /// A link of a tenant that may bind accounts.
    Usable(Box<LinkWithTenant>),
    /// Its tenant is suspended or deleted.
    TenantSuspended,
    Unknown,
}

/// Looks up a link by its id, if that looks like one.
pub(super) async fn look_up_link(app: &Services, id: &str) -> Result<LinkLookup, Error> {
    if id.is_empty()
        || id.len() > MAX_BINDING_ID_BYTES
        || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        return Ok(LinkLookup::Unknown);
    }
    let Some(binding) = app.store.bindings().by_link(id).await? else { return Ok(LinkLookup::Unknown) };
    let tenant = app.store.tenants().get(&binding.tenant_id).await?;
    Ok(match tenant.filter(|tenant| tenant.status == TenantStatus::Active) {
        Some(tenant) => LinkLookup::Usable(Box::new(LinkWithTenant { binding, tenant: tenant.name })),
        None => LinkLookup::TenantSuspended,
    })
}

/// The name of a tenant's account, or its app id.
pub(super) async fn account_name(
    app: &Services,
    tenant: &str,
    app_id: Option<&str>,
    lang: Lang,
) -> Result<String, Error> {
    let Some(app_id) = app_id else { return Ok(THE_ACCOUNT.in_language(lang).to_owned()) };
    let account = app.store.accounts().get(tenant, app_id).await?;
    Ok(account
        .map(|account| account.name)
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| app_id.to_owned()))
}

/// The name, as WeChat gave it, of the account that was last authorized with this link.
pub(super) async fn authorized_name(app: &Services, binding: &Binding, lang: Lang) -> Result<String, Error> {
    match &binding.account_name {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => account_name(app, &binding.tenant_id, binding.app_id.as_deref(), lang).await,
    }
}

/// The address of a binding's first page.
pub(super) fn bind_page_url(app: &Services, binding: &Binding) -> String {
    format!("{}/bind/{}", app.config.public_url, binding.id)
}
