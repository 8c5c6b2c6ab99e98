//! Until when WeChat refuses an account's calls of an API.

use super::{
    dynamo::{database::Database, n, update::Update},
    keys,
};
use crate::{error::Error, model::quota::QuotaRefusal};

/// What WeChat has refused to accounts.
#[derive(Clone, Copy)]
pub struct Quotas<'a> {
    pub(super) db: &'a Database,
}

impl Quotas<'_> {
    /// Stores a refusal, unless a newer one is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_refusal(self, app_id: &str, api: &str, refusal: &QuotaRefusal) -> Result<(), Error> {
        let at = n(refusal.refused_at);
        let update = Update::new()
            .set("refused_until", n(refusal.refused_until))
            .set("refused_at", at.clone())
            .set("errcode", n(refusal.errcode))
            .set("ttl", n(refusal.refused_until))
            .when("attribute_not_exists(refused_at) OR refused_at <= :at", &[(":at", at)]);
        self.db.update(&self.db.work, &keys::quota(app_id, api), update).await.map(drop)
    }

    /// The newest stored refusal of an account's API; it may be over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn refusal(self, app_id: &str, api: &str) -> Result<Option<QuotaRefusal>, Error> {
        self.db.get(&self.db.work, &keys::quota(app_id, api)).await
    }
}
