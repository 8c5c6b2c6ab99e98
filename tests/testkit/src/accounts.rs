//! Bound accounts.

use shared::{
    model::{
        account::{AccountRecord, AccountStatus, AccountType},
        consent::ConsentPage,
        credentials::AccessToken,
        token::Due,
    },
    secret::Secret,
    services::Services,
    tokens,
};

/// A verified service account that was bound at the unix second `bound_at`, with the permission sets of messages and
/// followers. Its original id is `gh_1`.
pub fn account(tenant: &str, app_id: &str, bound_at: i64) -> AccountRecord {
    AccountRecord {
        app_id: app_id.into(),
        tenant_id: tenant.into(),
        original_id: "gh_1".into(),
        name: "Invented Cafe".into(),
        alias: String::new(),
        avatar_url: String::new(),
        qr_code_url: String::new(),
        principal_name: String::new(),
        account_type: AccountType::Service,
        verified: true,
        status: AccountStatus::Bound,
        granted: vec![1, 2],
        bound_at,
        bound_by: None,
        unbound_at: None,
        stored_authorized_at: 0,
        deleted: false,
        revision: 0,
    }
}

/// Stores an account as if its administrator had agreed on a page of its tenant at the unix second `now`; with an access
/// token, or one that the first call has to fetch.
pub async fn bind(app: &Services, account: AccountRecord, token: Option<&AccessToken>, now: i64) {
    let (store, refresh_token) = (&app.store, Secret::new("r"));
    let due = token.map_or(Due::Sorted { unix_seconds: now }, |token| tokens::next_refresh(app, token));
    store.authorizers().store_authorization(&account.app_id, "c", token, &refresh_token).await.unwrap();
    let tenant = account.tenant_id.clone();
    let page = ConsentPage { tenant: &tenant, opened_at: now, expires_at: now };
    store.accounts().bind(account, Some(page), due).await.unwrap();
}
