//! Tenants, their keys and their status.

use jiff::Timestamp;
use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID};
use shared::{
    model::{
        api_key::ApiKey,
        scope::Scope,
        tenant::{Tenant, TenantStatus},
    },
    secret::Secret,
    store::{
        Store,
        api_keys::LastKey,
        tenants::{TenantChange, TenantDeletion},
    },
};

pub const WRITES: &[(&str, &str)] = &[
    ("Tenants::create", "TransactItems"),
    ("ApiKeys::create", "KEY#key_2"),
    ("ApiKeys::find", "last_used_at"),
    ("ApiKeys::revoke", "revoked_at"),
    ("Tenants::change", ":deleted"),
    ("Tenants::delete", "revision = :seen"),
    ("Accounts::mark_suspended", ":its"),
    ("Tenants::erase_access", "REPLY_RULES"),
];

pub async fn perform(name: &str, _: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Tenants::create" => {
            let created_at = Timestamp::from_second(NEW_YEAR_2025).unwrap();
            let tenant = tenant(created_at);
            store.tenants().create(&tenant, &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
            format!(
                "{:?}",
                store.api_keys().find(&Secret::new("oak_1")).await.unwrap().map(|known| known.key.id.clone())
            )
        }
        _ => return of_keys(name, store).await,
    })
}

async fn of_keys(name: &str, store: &Store) -> Option<String> {
    let all = [
        "ApiKeys::create",
        "ApiKeys::find",
        "ApiKeys::revoke",
        "Tenants::change",
        "Tenants::delete",
        "Accounts::mark_suspended",
        "Tenants::erase_access",
    ];
    if !all.contains(&name) {
        return None;
    }
    let at = Timestamp::from_second(NEW_YEAR_2025).unwrap();
    store.tenants().create(&tenant(at), &api_key("key_1"), &Secret::new("oak_1")).await.unwrap();
    let suspended = TenantChange { status: Some(TenantStatus::Suspended), ..TenantChange::default() };
    let second = Secret::new("oak_2");
    let seen = match name {
        "ApiKeys::create" => {
            format!("{:?}", store.api_keys().create(&api_key("key_2"), &second).await.unwrap())
        }
        "ApiKeys::find" => {
            let known = store.api_keys().find(&Secret::new("oak_1")).await.unwrap().unwrap();
            format!("{}, {}", known.key.id, known.key.last_used_at.is_some())
        }
        "ApiKeys::revoke" => {
            store.api_keys().create(&api_key("key_2"), &second).await.unwrap();
            let revoked = store.api_keys().revoke(TENANT_ID, "key_2", LastKey::Keep).await.unwrap();
            format!(
                "{revoked:?}, {:?}",
                store.api_keys().revoke(TENANT_ID, "key_1", LastKey::Keep).await.unwrap()
            )
        }
        "Accounts::mark_suspended" => {
            store.tenants().change(TENANT_ID, &suspended).await.unwrap();
            store.accounts().mark_suspended(TENANT_ID, true).await.unwrap();
            format!("{}", store.accounts().entry_uncached(APP_ID).await.unwrap().unwrap().suspended)
        }
        "Tenants::erase_access" => {
            store.tenants().erase_access(TENANT_ID).await.unwrap();
            format!("{:?}", store.accounts().of_any_tenant(APP_ID).await.unwrap())
        }
        "Tenants::change" => {
            format!("{:?}", store.tenants().change(TENANT_ID, &suspended).await.unwrap().unwrap().status)
        }
        _ => {
            store.accounts().unbind(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            store.tenants().change(TENANT_ID, &suspended).await.unwrap();
            let TenantDeletion::Deleted(gone) = store.tenants().delete(TENANT_ID).await.unwrap() else {
                panic!("it stays")
            };
            format!("{:?}", gone.status)
        }
    };
    let ids: Vec<_> = store.api_keys().list(TENANT_ID).await.unwrap().into_iter().map(|key| key.id).collect();
    Some(format!("{seen}, then {ids:?}"))
}

fn tenant(created_at: Timestamp) -> Tenant {
    let (id, name, time_zone) = (TENANT_ID.into(), "Tea house".into(), "Asia/Shanghai".into());
    Tenant { id, name, time_zone, status: TenantStatus::Active, created_at, revision: 0 }
}

fn api_key(id: &str) -> ApiKey {
    let scopes = Scope::ALL.map(|scope| scope.name().to_owned()).into();
    ApiKey {
        id: id.into(),
        tenant_id: TENANT_ID.into(),
        scopes,
        created_at: NEW_YEAR_2025,
        ..ApiKey::default()
    }
}
