//! Handlers, one file per resource. Doc comments of handlers and API types become the API's description.

pub mod accounts;
pub mod audit;
pub mod bindings;
pub mod content_schema;
pub mod customers;
pub mod events;
pub mod imports;
pub mod keys;
pub mod messages;
pub mod platform;
pub mod queues;
pub mod reply_rules;
pub mod tenants;

use shared::{model::account::AccountRecord, problem::Problem, services::Services};

/// A tenant's account.
///
/// # Errors
/// 404 if it does not exist or belongs to another tenant.
pub async fn find_account(app: &Services, tenant: &str, app_id: &str) -> Result<AccountRecord, Problem> {
    app.store.accounts().get(tenant, app_id).await?.ok_or_else(|| Problem::not_found("account"))
}
