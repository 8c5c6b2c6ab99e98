//! Tickets and tokens.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025};
use shared::{model::credentials::TokenRefusal, secret::Secret, store::Store};

use super::{OTHER_APP_ID, insert_result, token};

pub const WRITES: &[(&str, &str)] = &[
    ("Component::store_ticket", "ticket_at"),
    ("Component::lease_ticket_push", "push_asked_at"),
    ("PlatformState::store", "tokens_expiring"),
    ("Component::lease", "lease_until"),
    ("Authorizers::lease", "lease_until"),
    ("Component::store_token", "expires_in"),
    ("Authorizers::store_token", "expires_in"),
    ("Component::release", "REMOVE #lease_until"),
    ("Authorizers::release", "REMOVE #lease_until"),
    ("Authorizers::store_authorization", "authorized_by"),
    ("Authorizers::recover_refresh_token", ":lost"),
    ("Authorizers::store_authorization_if_unchanged", "version = :seen"),
    ("Authorizers::delete_unbound", "version = :seen"),
    ("RefreshWheel::store_tick", "minute"),
];

pub async fn perform(name: &str, _: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Component::store_ticket" => {
            store.component().store_ticket(&Secret::new("ticket@@@2"), NEW_YEAR_2025 + 600).await.unwrap();
            store.component().get().await.unwrap().ticket.unwrap().expose().to_owned()
        }
        "Component::lease_ticket_push" => {
            let ours = store.component().lease_ticket_push(600).await.unwrap();
            format!("{ours}, {}", store.component().lease_ticket_push(600).await.unwrap())
        }
        "PlatformState::store" => {
            let component = store.component().get().await.unwrap();
            store.platform_status().store(&component, Some(7)).await.unwrap();
            format!("{:?}", store.platform_status().get().await.unwrap())
        }
        "Component::lease" => {
            insert_result(store.component().lease(0, "lse_1".into()).await.unwrap().is_some())
        }
        "Authorizers::lease" => {
            insert_result(store.authorizers().lease(APP_ID, 1, "lse_1".into()).await.unwrap().is_some())
        }
        "Component::store_token" => {
            store.component().lease(0, "lse_1".into()).await.unwrap().unwrap();
            let kept = store.component().store_token("lse_1", &token("c1")).await.unwrap();
            format!("{kept}, version {}", store.component().get().await.unwrap().version)
        }
        "Authorizers::store_token" => {
            store.authorizers().lease(APP_ID, 1, "lse_1".into()).await.unwrap().unwrap();
            let refresh = Secret::new("r2");
            let kept =
                store.authorizers().store_token(APP_ID, "lse_1", &token("t2"), &refresh, None).await.unwrap();
            format!("{kept}, version {}", store.authorizers().get(APP_ID).await.unwrap().unwrap().version)
        }
        "Component::release" => {
            store.component().lease(0, "lse_1".into()).await.unwrap().unwrap();
            store.component().release("lse_1", None).await.unwrap();
            insert_result(store.component().get().await.unwrap().lease_until == 0)
        }
        "Authorizers::release" => {
            store.authorizers().lease(APP_ID, 1, "lse_1".into()).await.unwrap().unwrap();
            let refusal = TokenRefusal { until: NEW_YEAR_2025 + 30, wait: 30, errcode: Some(50002) };
            store.authorizers().release(APP_ID, "lse_1", false, Some(refusal)).await.unwrap();
            insert_result(store.authorizers().get(APP_ID).await.unwrap().unwrap().lease_until == 0)
        }
        "Authorizers::store_authorization" => {
            let refresh = Secret::new("r3");
            let version = store
                .authorizers()
                .store_authorization(APP_ID, "c3", Some(&token("t3")), &refresh)
                .await
                .unwrap()
                .version;
            format!("version {version}, {}", store.authorizers().get(APP_ID).await.unwrap().unwrap().version)
        }
        "Authorizers::recover_refresh_token" => {
            let (lost, found) = (Secret::new("r1"), Secret::new("r9"));
            insert_result(store.authorizers().recover_refresh_token(APP_ID, &lost, &found).await.unwrap())
        }
        "Authorizers::store_authorization_if_unchanged" => {
            let (seen, refresh) = (store.authorizers().get(APP_ID).await.unwrap(), Secret::new("r3"));
            let stored = store
                .authorizers()
                .store_authorization_if_unchanged(APP_ID, seen.as_ref(), "c3", None, &refresh)
                .await
                .unwrap();
            let now = store.authorizers().get(APP_ID).await.unwrap().unwrap();
            format!("version {}, {}, {:?}", stored.unwrap().version, now.version, now.due)
        }
        "Authorizers::delete_unbound" => {
            for app_id in [APP_ID, OTHER_APP_ID] {
                let seen = store.authorizers().get(app_id).await.unwrap().unwrap();
                store.authorizers().delete_unbound(app_id, &seen).await.unwrap();
            }
            let mut is_there = Vec::new();
            for app_id in [APP_ID, OTHER_APP_ID] {
                is_there.push(store.authorizers().get(app_id).await.unwrap().is_some());
            }
            format!("{is_there:?}")
        }
        "RefreshWheel::store_tick" => {
            store.refresh_wheel().store_tick(NEW_YEAR_2025 / 60).await.unwrap();
            format!("{:?}", store.refresh_wheel().last_tick().await.unwrap())
        }
        _ => return None,
    })
}
