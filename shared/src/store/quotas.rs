//! Until when WeChat refuses an account's calls of an API.

use serde::Deserialize;

use super::{
    Store,
    dynamo::{Update, n},
    keys,
};
use crate::error::Error;

/// An API that WeChat refuses to an account for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct QuotaRefusal {
    /// Until when the API is not called, unix seconds.
    pub refused_until: i64,
    /// When WeChat refused, unix seconds.
    pub refused_at: i64,
    /// The errcode.
    pub errcode: i64,
}

impl Store {
    /// Stores a refusal, unless a newer one is stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_quota_refusal(
        &self,
        app_id: &str,
        api: &str,
        refusal: &QuotaRefusal,
    ) -> Result<(), Error> {
        let at = n(refusal.refused_at);
        let update = Update::new()
            .set("refused_until", n(refusal.refused_until))
            .set("refused_at", at.clone())
            .set("errcode", n(refusal.errcode))
            .set("ttl", n(refusal.refused_until))
            .when("attribute_not_exists(refused_at) OR refused_at <= :at", &[(":at", at)]);
        self.update(&self.work, &keys::quota(app_id, api), update).await.map(drop)
    }

    /// The newest stored refusal of an account's API; it may be over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn quota_refusal(&self, app_id: &str, api: &str) -> Result<Option<QuotaRefusal>, Error> {
        self.get(&self.work, &keys::quota(app_id, api)).await
    }
}
