//! What is known of authorizations: the pages on which they begin, the newest event of each account, and
//! which events were handled before.

use serde::{Deserialize, Serialize};

use super::{
    Store,
    dynamo::{ConditionalWrite, Update, from_item, n, s, to_item},
    keys,
};
use crate::{
    error::Error,
    model::authorization::{AuthorizationPage, ConsentEvent, code_fingerprint},
};

/// How long a page is found by its pre_auth_code after the code expired, seconds: twice as long as an event
/// of it may stay in a queue and its dead letters.
const PAGE_RETENTION_SECONDS: i64 = 36 * 24 * 3600;
/// How long the newest event of an account is stored, seconds: a browser returns long before.
const EVENT_RETENTION_SECONDS: i64 = 24 * 3600;
/// How long a repeated event has no second effect, seconds.
const REPEAT_WINDOW_SECONDS: i64 = 24 * 3600;
/// How long pushes are asked to come again while an account is being bound; WeChat repeats for 15 s.
const BINDING_IN_PROGRESS_SECONDS: i64 = 60;

impl Store {
    /// Stores a page by its pre_auth_code, before the page is shown: an event must find its binding even if
    /// we crash in between.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) async fn store_page_by_code(&self, code: &str, page: &AuthorizationPage) -> Result<(), Error> {
        let ttl = page.expires_at + PAGE_RETENTION_SECONDS;
        self.put(&self.platform, to_item(&keys::pre_auth_code(&code_fingerprint(code)), page, Some(ttl))?)
            .await
    }

    /// The page whose pre_auth_code has this [`code_fingerprint`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn authorization_page(&self, fingerprint: &str) -> Result<Option<AuthorizationPage>, Error> {
        let page: Option<AuthorizationPage> =
            self.get(&self.platform, &keys::pre_auth_code(fingerprint)).await?;
        let page = page.filter(|page| !page.tenant_id.is_empty());
        Ok(page.map(|page| AuthorizationPage { fingerprint: fingerprint.to_owned(), ..page }))
    }

    /// When the hub first heard of the consent on a page, unix seconds. A page's code serves one consent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_consent_time(&self, page: &AuthorizationPage) -> Result<i64, Error> {
        let now = self.clock.unix();
        let update = Update::new().set_if_absent("consented_at", n(now)).when("attribute_exists(pk)", &[]);
        let key = keys::pre_auth_code(&page.fingerprint);
        match self.update(&self.platform, &key, update).await? {
            ConditionalWrite::Done(item) => Ok(from_item::<ConsentTime>(item)?.consented_at),
            ConditionalWrite::ConditionFailed(_) => Ok(now),
        }
    }

    /// Stores an account's authorization event, unless a newer one came; marks the binding as in progress.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_consent_event(
        &self,
        app_id: &str,
        code: &str,
        page: Option<&AuthorizationPage>,
        event_at: i64,
    ) -> Result<(), Error> {
        let now = self.clock.unix();
        let update = Update::new()
            .set("code", s(code_fingerprint(code)))
            .set("event_at", n(event_at))
            .set("under_way_until", n(now + BINDING_IN_PROGRESS_SECONDS))
            .set("ttl", n(now + EVENT_RETENTION_SECONDS))
            .when("attribute_not_exists(event_at) OR event_at <= :at", &[(":at", n(event_at))]);
        let update = match page {
            Some(page) => update.set("binding_id", s(&page.binding_id)),
            None => update.remove("binding_id"),
        };
        self.update(&self.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// Marks the binding of an account as in progress.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_binding_in_progress(&self, app_id: &str) -> Result<(), Error> {
        let now = self.clock.unix();
        let update = Update::new()
            .set("under_way_until", n(now + BINDING_IN_PROGRESS_SECONDS))
            .set("ttl", n(now + EVENT_RETENTION_SECONDS));
        self.update(&self.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// Records that the binding of an account is not in progress any more: its result is known.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn clear_binding_in_progress(&self, app_id: &str) -> Result<(), Error> {
        let update = Update::new().remove("under_way_until").when("attribute_exists(pk)", &[]);
        self.update(&self.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// The newest authorization event of an account within the last day.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn consent_event(&self, app_id: &str) -> Result<Option<ConsentEvent>, Error> {
        self.get(&self.platform, &keys::consent(app_id)).await
    }

    /// When an event with this content was last handled, unix seconds; none if that was over a day ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn component_event_seen_at(&self, content: &str) -> Result<Option<i64>, Error> {
        let seen: Option<SeenEvent> = self.get(&self.platform, &keys::component_event(content)).await?;
        let seen = seen.filter(|seen| self.clock.unix() < seen.seen_until);
        Ok(seen.map(|seen| seen.seen_until - REPEAT_WINDOW_SECONDS))
    }

    /// Remembers an event of the platform for a day, after its effects are stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_component_event_seen(&self, content: &str) -> Result<(), Error> {
        let seen = SeenEvent { seen_until: self.clock.unix() + REPEAT_WINDOW_SECONDS };
        self.put(&self.platform, to_item(&keys::component_event(content), &seen, Some(seen.seen_until))?)
            .await
    }
}

#[derive(Deserialize)]
struct ConsentTime {
    consented_at: i64,
}

#[derive(Serialize, Deserialize)]
struct SeenEvent {
    seen_until: i64,
}
