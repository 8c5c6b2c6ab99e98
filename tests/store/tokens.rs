//! Tokens are deleted or replaced only in the version that was read, never a version stored since.

use oahub_harness::deployment::SimulatedDeployment;
use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, account};
use shared::{
    model::{consent::ConsentPage, token::Due},
    secret::Secret,
};

use crate::on_paused_time;

#[test]
fn tokens_that_were_stored_since_stay() {
    on_paused_time(async {
        let world = SimulatedDeployment::new(1);
        world.create_tables().await;
        let store = &world.services().store;
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let refused = store.authorizers().store_authorization(APP_ID, "c1", None, &old).await.unwrap();
        store.authorizers().delete_unbound(APP_ID, &refused).await.unwrap();
        assert!(store.authorizers().get(APP_ID).await.unwrap().is_none(), "what was read is deleted");
        // they were deleted, so versions start over
        let good = store.authorizers().store_authorization(APP_ID, "c2", None, &new).await.unwrap();
        assert_eq!(good.version, refused.version);
        store.authorizers().delete_unbound(APP_ID, &refused).await.unwrap();
        let replaced = store
            .authorizers()
            .store_authorization_if_unchanged(APP_ID, Some(&refused), "c1", None, &old)
            .await
            .unwrap();
        assert!(replaced.is_none(), "an older word replaced a newer one");
        let replaced = store
            .authorizers()
            .store_authorization_if_unchanged(APP_ID, None, "c1", None, &old)
            .await
            .unwrap();
        assert!(replaced.is_none(), "the same where nothing was read");
        assert_eq!(store.authorizers().get(APP_ID).await.unwrap().unwrap().refresh_token, new);
        // even with the right version: they belong to a tenant now
        let page = ConsentPage { tenant: "ten_1", opened_at: NEW_YEAR_2025, expires_at: NEW_YEAR_2025 + 600 };
        store.accounts().bind(account(APP_ID), Some(page), Due::Wheel { slot: 7 }).await.unwrap();
        store.authorizers().delete_unbound(APP_ID, &good).await.unwrap();
        assert_eq!(store.authorizers().get(APP_ID).await.unwrap().unwrap().refresh_token, new);
    });
}
