//! Bindings, consents, and events of the platform.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID};
use shared::{
    model::{
        authorization::{self, AuthorizationPage},
        binding::BindingOutcome,
        binding_refusal::BindingRefusal,
    },
    store::Store,
};

use super::{binding, insert_result};

pub const WRITES: &[(&str, &str)] = &[
    ("Bindings::create", "attribute_not_exists(pk)"),
    ("Bindings::delete", "tenant_id = :tenant"),
    ("Bindings::record_authorization_event", "event_at"),
    ("Bindings::clear_authorization_event", "REMOVE #event_at"),
    ("Consents::record_event", "under_way_until"),
    ("Consents::mark_binding_in_progress", "under_way_until"),
    ("Consents::clear_binding_in_progress", "REMOVE #under_way_until"),
    ("ComponentEvents::mark_seen", "seen_until"),
    ("Bindings::begin_code_query", "size(asked)"),
    ("Bindings::uncount_code_query", "DELETE #asked"),
    ("Consents::record_time", "consented_at"),
    ("Bindings::store_pre_auth_code", "\"Item\""),
    ("Bindings::store_pre_auth_code, its second write", "pre_auth_expires"),
    ("Bindings::end, bound", "NOT #status = :bound"),
    ("Bindings::end, refused", "NOT #status = :bound"),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Bindings::create" => {
            store.bindings().create(&binding("bnd_1")).await.unwrap();
            insert_result(store.bindings().get(TENANT_ID, "bnd_1").await.unwrap().is_some())
        }
        "Bindings::delete" => {
            let was = store.bindings().delete(TENANT_ID, "bnd_0").await.unwrap();
            format!("{was}, {} now", store.bindings().get(TENANT_ID, "bnd_0").await.unwrap().is_some())
        }
        "Bindings::record_authorization_event" => {
            store.bindings().record_authorization_event(&page_of("code@@@0", store).await).await.unwrap();
            insert_result(store.bindings().get(TENANT_ID, "bnd_0").await.unwrap().unwrap().event_at.is_some())
        }
        "Bindings::clear_authorization_event" => {
            let page = page_of("code@@@0", store).await;
            store.bindings().record_authorization_event(&page).await.unwrap();
            store.bindings().clear_authorization_event(&page).await.unwrap();
            insert_result(store.bindings().get(TENANT_ID, "bnd_0").await.unwrap().unwrap().event_at.is_none())
        }
        "Consents::record_event" => {
            let page = page_of("code@@@0", store).await;
            store.consents().record_event(APP_ID, "c", Some(&page), NEW_YEAR_2025).await.unwrap();
            format!("{:?}", store.consents().newest_event(APP_ID).await.unwrap())
        }
        "Consents::mark_binding_in_progress" => {
            store.consents().mark_binding_in_progress(APP_ID).await.unwrap();
            format!("{:?}", store.consents().newest_event(APP_ID).await.unwrap())
        }
        "Consents::clear_binding_in_progress" => {
            store.consents().mark_binding_in_progress(APP_ID).await.unwrap();
            store.consents().clear_binding_in_progress(APP_ID).await.unwrap();
            format!("{:?}", store.consents().newest_event(APP_ID).await.unwrap())
        }
        "ComponentEvents::mark_seen" => {
            store.component_events().mark_seen("e").await.unwrap();
            format!("{:?}", store.component_events().seen_at("e").await.unwrap().is_some())
        }
        "Bindings::begin_code_query" => {
            let page = page_of("code@@@0", store).await;
            let may = store.bindings().begin_code_query(&page).await.unwrap().is_some();
            format!(
                "{may}, {} asked",
                store.bindings().get(TENANT_ID, "bnd_0").await.unwrap().unwrap().asked.len()
            )
        }
        "Bindings::uncount_code_query" => {
            let owner = store.bindings().begin_code_query(&page_of("code@@@0", store).await).await.unwrap();
            store.bindings().uncount_code_query("bnd_0", owner.unwrap()).await.unwrap();
            format!("{} asked", store.bindings().get(TENANT_ID, "bnd_0").await.unwrap().unwrap().asked.len())
        }
        "Consents::record_time" => {
            let page = page_of("code@@@0", store).await;
            let first = store.consents().record_time(&page).await.unwrap();
            format!("{first}, {}", store.consents().record_time(&page).await.unwrap())
        }
        "Bindings::store_pre_auth_code" => {
            store
                .bindings()
                .store_pre_auth_code(&binding("bnd_0"), "code@@@1", NEW_YEAR_2025 + 600)
                .await
                .unwrap();
            format!("{:?}", page_of("code@@@1", store).await)
        }
        "Bindings::end" => {
            let reason = what.contains("refused").then_some(BindingRefusal::UnverifiedAccount);
            let ended = store
                .bindings()
                .end("bnd_0", BindingOutcome { app_id: APP_ID, name: "A", reason, code: "c" })
                .await
                .unwrap();
            format!("{:?}", ended.unwrap().status)
        }
        _ => return None,
    })
}

async fn page_of(code: &str, store: &Store) -> AuthorizationPage {
    store.consents().page(&authorization::code_fingerprint(code)).await.unwrap().unwrap()
}
