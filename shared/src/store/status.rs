//! How the platform stands, without its secrets: for who may not read those. Written by who reads them anyway.

use serde::{Deserialize, Serialize};

use super::{
    Store,
    credentials::ComponentCredentials,
    keys,
    table::{Update, n},
};
use crate::error::Error;

/// How the platform stood when somebody last looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PlatformStatus {
    /// When the newest ticket was pushed, unix seconds; none before the first.
    pub ticket_at: Option<i64>,
    /// When the component token dies, unix seconds; none before the first.
    pub component_token_expires_at: Option<i64>,
    /// Accounts whose token the schedule looked at within ten minutes, as counted within the last five.
    pub tokens_expiring: u64,
}

impl Store {
    /// How the platform stood at most a minute ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn platform_status(&self) -> Result<PlatformStatus, Error> {
        Ok(self.get(&self.platform, &keys::platform_status()).await?.unwrap_or_default())
    }

    /// Notes how the platform's credentials stand, and how many accounts' tokens are about to be looked at, where that
    /// was counted. Who read an older ticket than is noted changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn note_status(
        &self,
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
        self.update(&self.platform, &keys::platform_status(), update).await.map(drop)
    }
}
