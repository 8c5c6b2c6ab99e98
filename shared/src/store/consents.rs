//! What is known of authorizations: the pages on which they begin, and the newest event of each account.

use serde::Deserialize;

use super::{
    dynamo::{
        conditional_write::ConditionalWrite, database::Database, from_item, n, s, to_item, update::Update,
    },
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
/// How long pushes are asked to come again while an account is being bound; WeChat repeats for 15 s.
const BINDING_IN_PROGRESS_SECONDS: i64 = 60;

/// Stores a page by its pre_auth_code, before the page is shown: an event must find its binding even if
/// we crash in between.
///
/// # Errors
/// [`Error::Store`].
pub(super) async fn store_page_by_code(
    db: &Database,
    code: &str,
    page: &AuthorizationPage,
) -> Result<(), Error> {
    let ttl = page.expires_at + PAGE_RETENTION_SECONDS;
    db.put(&db.platform, to_item(&keys::pre_auth_code(&code_fingerprint(code)), page, Some(ttl))?).await
}

/// What is known of authorizations.
#[derive(Clone, Copy)]
pub struct Consents<'a> {
    pub(super) db: &'a Database,
}

impl Consents<'_> {
    /// The page whose pre_auth_code has this [`code_fingerprint`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn page(self, fingerprint: &str) -> Result<Option<AuthorizationPage>, Error> {
        let page: Option<AuthorizationPage> =
            self.db.get(&self.db.platform, &keys::pre_auth_code(fingerprint)).await?;
        let page = page.filter(|page| !page.tenant_id.is_empty());
        Ok(page.map(|page| AuthorizationPage { fingerprint: fingerprint.to_owned(), ..page }))
    }

    /// When the hub first heard of the consent on a page, unix seconds. A page's code serves one consent.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_time(self, page: &AuthorizationPage) -> Result<i64, Error> {
        let now = self.db.clock.unix();
        let update = Update::new().set_if_absent("consented_at", n(now)).when("attribute_exists(pk)", &[]);
        let key = keys::pre_auth_code(&page.fingerprint);
        match self.db.update(&self.db.platform, &key, update).await? {
            ConditionalWrite::Done(item) => Ok(from_item::<ConsentTime>(item)?.consented_at),
            ConditionalWrite::ConditionFailed(_) => Ok(now),
        }
    }

    /// Stores an account's authorization event, unless a newer one came; marks the binding as in progress.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_event(
        self,
        app_id: &str,
        code: &str,
        page: Option<&AuthorizationPage>,
        event_at: i64,
    ) -> Result<(), Error> {
        let now = self.db.clock.unix();
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
        self.db.update(&self.db.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// Marks the binding of an account as in progress.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_binding_in_progress(self, app_id: &str) -> Result<(), Error> {
        let now = self.db.clock.unix();
        let update = Update::new()
            .set("under_way_until", n(now + BINDING_IN_PROGRESS_SECONDS))
            .set("ttl", n(now + EVENT_RETENTION_SECONDS));
        self.db.update(&self.db.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// Records that the binding of an account is not in progress any more: its result is known.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn clear_binding_in_progress(self, app_id: &str) -> Result<(), Error> {
        let update = Update::new().remove("under_way_until").when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::consent(app_id), update).await.map(drop)
    }

    /// The newest authorization event of an account within the last day.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn newest_event(self, app_id: &str) -> Result<Option<ConsentEvent>, Error> {
        self.db.get(&self.db.platform, &keys::consent(app_id)).await
    }
}

#[derive(Deserialize)]
struct ConsentTime {
    consented_at: i64,
}
