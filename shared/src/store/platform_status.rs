//! The state of the platform without its secrets: for readers without the right to read those.

use super::{
    dynamo::{database::Database, n, update::Update},
    keys,
};
use crate::{
    error::Error,
    model::{credentials::ComponentCredentials, platform_status::PlatformStatus},
};

/// What is stored of the state of the platform.
#[derive(Clone, Copy)]
pub struct PlatformState<'a> {
    pub(super) db: &'a Database,
}

impl PlatformState<'_> {
    /// The state of the platform, at most a minute old.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self) -> Result<PlatformStatus, Error> {
        Ok(self.db.get(&self.db.platform, &keys::platform_status()).await?.unwrap_or_default())
    }

    /// Stores the state of the platform's credentials, and how many accounts' tokens are about to be checked,
    /// where that was counted. A caller that read an older ticket than the stored one changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store(
        self,
        component: &ComponentCredentials,
        tokens_expiring: Option<u64>,
    ) -> Result<(), Error> {
        let ticket_at = component.ticket.as_ref().map_or(0, |_| component.ticket_at);
        let expires = component.token.as_ref().map(|t| t.issued_at.saturating_add(t.expires_in));
        let update = Update::new()
            .set_some("ticket_at", component.ticket.as_ref().map(|_| n(ticket_at)))
            .set_some("component_token_expires_at", expires.map(n))
            .set_some("tokens_expiring", tokens_expiring.map(n));
        if update.is_empty() {
            return Ok(());
        }
        let update = update
            .when("attribute_not_exists(ticket_at) OR ticket_at <= :ticket", &[(":ticket", n(ticket_at))]);
        self.db.update(&self.db.platform, &keys::platform_status(), update).await.map(drop)
    }
}
