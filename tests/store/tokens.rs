//! Tokens are deleted or replaced only in the version that was read, never a version stored since.

use oahub_tests::fixtures::{APP, DAY, account};
use shared::{
    model::{consent::Page, token::Due},
    secret::Secret,
};

use crate::{on_paused_time, world::World};

#[test]
fn tokens_that_were_stored_since_stay() {
    on_paused_time(async {
        let world = World::new(1);
        world.create_tables().await;
        let store = &world.app().store;
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let refused = store.authorize(APP, "c1", None, &old).await.unwrap();
        store.forget_authorizer(APP, &refused).await.unwrap();
        assert!(store.authorizer(APP).await.unwrap().is_none(), "what was read is deleted");
        // they were deleted, so versions start over
        let good = store.authorize(APP, "c2", None, &new).await.unwrap();
        assert_eq!(good.version, refused.version);
        store.forget_authorizer(APP, &refused).await.unwrap();
        let replaced = store.authorize_instead(APP, Some(&refused), "c1", None, &old).await.unwrap();
        assert!(replaced.is_none(), "an older word replaced a newer one");
        let replaced = store.authorize_instead(APP, None, "c1", None, &old).await.unwrap();
        assert!(replaced.is_none(), "the same where nothing was read");
        assert_eq!(store.authorizer(APP).await.unwrap().unwrap().refresh_token, new);
        // even with the right version: they belong to a tenant now
        let page = Page { tenant: "ten_1", opened_at: DAY, expires_at: DAY + 600 };
        store.bind_account(account(APP), Some(page), Due::Wheel { slot: 7 }).await.unwrap();
        store.forget_authorizer(APP, &good).await.unwrap();
        assert_eq!(store.authorizer(APP).await.unwrap().unwrap().refresh_token, new);
    });
}
