//! What others than `tenants.rs` need of a tenant: its item, its place on the list of all, and a check.

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::{Deserialize, Serialize};

use super::{
    dynamo::{
        actions::{check_action, put_action},
        database::Database,
        to_attr, to_item,
    },
    keys,
};
use crate::{
    error::Error,
    model::tenant::{Tenant, TenantStatus},
};

/// A tenant by its id, deleted or not; [`None`] for one that is erased.
pub(super) async fn read_tenant(db: &Database, id: &str) -> Result<Option<Tenant>, Error> {
    db.get(&db.platform, &keys::tenant(id)).await
}

/// The write that adds a tenant to the list of all.
pub(super) fn list_tenant_action(db: &Database, id: &str) -> Result<TransactWriteItem, Error> {
    put_action(
        &db.platform,
        to_item(&keys::listed_tenant(id), &TenantListEntry { id: id.to_owned() }, None)?,
        None,
    )
}

/// A check in a transaction that binds: the tenant must not be suspended or deleted. A tenant that is not
/// stored, as in tests, passes.
pub(super) fn check_tenant_active(db: &Database, tenant: &str) -> Result<TransactWriteItem, Error> {
    let active = to_attr(&TenantStatus::Active)?;
    let condition = "attribute_not_exists(#status) OR #status = :active";
    check_action(&db.platform, &keys::tenant(tenant), condition, &["status"], &[(":active", active)])
}

/// A check in a transaction that marks: the tenant must be suspended. One that is not stored passes, as above.
pub(super) fn check_tenant_suspended(db: &Database, tenant: &str) -> Result<TransactWriteItem, Error> {
    let suspended = to_attr(&TenantStatus::Suspended)?;
    check_action(
        &db.platform,
        &keys::tenant(tenant),
        "attribute_not_exists(#status) OR #status = :suspended",
        &["status"],
        &[(":suspended", suspended)],
    )
}

/// An entry of the list of tenants.
#[derive(Serialize, Deserialize)]
pub(super) struct TenantListEntry {
    /// The tenant.
    pub id: String,
}
