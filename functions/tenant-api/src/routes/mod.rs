//! Handlers, one file a resource. Doc comments of what is shown become the API's description.

pub mod accounts;
pub mod audit;
pub mod bindings;
pub mod contents;
pub mod customers;
pub mod events;
pub mod imports;
pub mod keys;
pub mod messages;
pub mod platform;
pub mod queues;
pub mod reply_rules;
pub mod tenants;

use shared::{app::App, problem::Problem, store::accounts::AccountRecord};

/// A tenant's account.
///
/// # Errors
/// 404 for what is not there or another tenant's.
pub async fn account_of(app: &App, tenant: &str, app_id: &str) -> Result<AccountRecord, Problem> {
    app.store.account(tenant, app_id).await?.ok_or_else(|| Problem::not_found("account"))
}
