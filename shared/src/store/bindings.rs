//! Bindings: an attempt to bind an account, from its link to its outcome.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Store,
    consents::{OpenedPage, fingerprint},
    keys,
    owner::Owner,
    table::{Attributes, Update, Written, any, item, n, read, s},
};
use crate::{error::Error, secret::Secret};

/// How long after its end a binding is kept, seconds.
const KEPT_SECONDS: i64 = 90 * 24 * 3600;
/// A page that is opened again this soon shows its code again, seconds: a reload burns no other.
const PAGE_REUSED_SECONDS: i64 = 60;
/// How long the job of an authorization event is thought to be at work, seconds.
const EVENT_AT_WORK_SECONDS: i64 = 120;
/// Attribute of a binding: who asked WeChat about a browser's code, as a set.
const ASKED: &str = "asked";
/// Codes of browsers that WeChat is asked about for one link at most; beyond them one a minute, for a page that was opened
/// since. Its event binds after that too.
const CODES_ASKED: u32 = 10;

/// Where a binding stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BindingStatus {
    /// Nobody has authorized yet.
    Pending,
    /// An account is bound.
    Bound,
    /// The account may not be bound; `reason` says why.
    Refused,
    /// Nobody authorized in time.
    Expired,
}

/// A binding as stored. No `Debug`: it holds a pre_auth_code.
#[derive(Clone, Serialize, Deserialize)]
pub struct Binding {
    /// `bnd_…`: whoever knows it may open its page.
    pub id: String,
    /// Whose account it becomes.
    pub tenant_id: String,
    /// Where it stands; a pending one past `expires_at` is expired.
    pub status: BindingStatus,
    /// The account, once one authorized.
    pub app_id: Option<String>,
    /// The name of that account, as WeChat told it.
    #[serde(default)]
    pub account_name: Option<String>,
    /// The only account that may be bound by it; none for any.
    #[serde(default)]
    pub only_app_id: Option<String>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Where the last page leads.
    pub return_url: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its link dies.
    pub expires_at: Timestamp,
    /// The pre_auth_code that the page shows, so that a reload does not burn another; none once it was used.
    pub pre_auth_code: Option<String>,
    /// When that code was made, unix seconds; none in items of 0.1.
    #[serde(default)]
    pub pre_auth_at: Option<i64>,
    /// When that code dies, unix seconds.
    pub pre_auth_expires: Option<i64>,
    /// When WeChat's event of the authorization came, unix seconds: a job is at it.
    pub event_at: Option<i64>,
    /// Who asked WeChat about codes of browsers, where it did not take them or has not answered yet.
    #[serde(default, skip_serializing)]
    pub asked: BTreeSet<String>,
    /// Fingerprint of the authorization code that led to `status`.
    #[serde(default)]
    pub ended_by: Option<String>,
}

impl Binding {
    /// The code that the page shows at `now`, unix seconds, if it may be shown: made a moment ago, and not used.
    #[must_use]
    pub fn code_to_show(&self, now: i64) -> Option<Secret> {
        let (code, made) = (self.pre_auth_code.as_ref()?, self.pre_auth_at?);
        (made <= now && now < made + PAGE_REUSED_SECONDS).then(|| Secret::new(code))
    }

    /// Whether a job is at WeChat's event of an authorization at `now`, unix seconds, as far as anybody knows: one that
    /// takes longer waits for WeChat, and nobody waits for it.
    #[must_use]
    pub fn is_being_bound(&self, now: i64) -> bool {
        self.event_at.is_some_and(|came| now < came + EVENT_AT_WORK_SECONDS)
    }

    /// Where it stands at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> BindingStatus {
        if self.status == BindingStatus::Pending && self.expires_at <= now {
            BindingStatus::Expired
        } else {
            self.status
        }
    }
}

/// What became of a binding.
#[derive(Debug, Clone, Copy)]
pub struct BindingEnd<'a> {
    /// The account that authorized.
    pub app_id: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Why it may not be bound; none where it is.
    pub reason: Option<&'a str>,
    /// Fingerprint of the authorization code.
    pub code: &'a str,
}

impl Store {
    /// Stores a new binding; the same id again changes nothing. Answers the one that is there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_binding(&self, binding: &Binding) -> Result<Binding, Error> {
        let ttl = binding.expires_at.as_second() + KEPT_SECONDS;
        let new = item(&keys::binding(&binding.id), binding, Some(ttl))?;
        match self.put_new(&self.platform, new).await? {
            Written::Refused(Some(before)) => read(before),
            Written::Done(_) | Written::Refused(None) => Ok(binding.clone()),
        }
    }

    /// A tenant's binding.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn binding(&self, tenant: &str, id: &str) -> Result<Option<Binding>, Error> {
        Ok(self.binding_by_link(id).await?.filter(|binding| binding.tenant_id == tenant))
    }

    /// The binding of a link: whoever holds the link may see its page, so no tenant is asked for.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn binding_by_link(&self, id: &str) -> Result<Option<Binding>, Error> {
        self.get(&self.platform, &keys::binding(id)).await
    }

    /// Takes a tenant's link back: its page is gone, and a consent that began on it binds nothing. What it has bound stays
    /// bound. Answers whether there was one; a second call changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete_binding(&self, tenant: &str, id: &str) -> Result<bool, Error> {
        if self.binding(tenant, id).await?.is_none() {
            return Ok(false);
        }
        let its_own = [(":tenant", s(tenant))];
        self.delete_where(&self.platform, &keys::binding(id), "tenant_id = :tenant", &its_own).await?;
        Ok(true)
    }

    /// Notes on a page's binding that its authorization event has come: a job is at it, and the page's code is used.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn note_authorization(&self, page: &OpenedPage) -> Result<(), Error> {
        let update =
            spent(Update::new()).set("event_at", n(self.clock.unix())).when("attribute_exists(pk)", &[]);
        self.update(&self.platform, &keys::binding(&page.binding_id), update).await.map(drop)
    }

    /// Notes that the job of an authorization event has ended, and the page's binding has not: it is as if none had come.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn authorization_came_to_nothing(&self, page: &OpenedPage) -> Result<(), Error> {
        let update = Update::new().remove("event_at").when("attribute_exists(pk)", &[]);
        self.update(&self.platform, &keys::binding(&page.binding_id), update).await.map(drop)
    }

    /// Gives a page's binding the pre_auth_code that was just made; it dies at `expires`, unix seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_pre_auth_code(
        &self,
        binding: &Binding,
        code: &str,
        expires: i64,
    ) -> Result<OpenedPage, Error> {
        let page = OpenedPage {
            binding_id: binding.id.clone(),
            tenant_id: binding.tenant_id.clone(),
            opened_at: self.clock.unix(),
            expires_at: expires,
            fingerprint: fingerprint(code),
        };
        self.keep_page_of_code(code, &page).await?;
        let update = Update::new()
            .set("pre_auth_code", s(code))
            .set("pre_auth_at", n(page.opened_at))
            .set("pre_auth_expires", n(expires))
            .when("attribute_exists(pk)", &[]);
        self.update(&self.platform, &keys::binding(&binding.id), update).await?;
        Ok(page)
    }

    /// Whether WeChat may be asked about one more code that a browser brought which opened `page`; the page's pre_auth_code
    /// is used then, whatever WeChat says. Answers who asks, for [`Store::code_counts_not`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn may_ask_about_code(&self, page: &OpenedPage) -> Result<Option<Owner>, Error> {
        let (owner, now) = (self.owner(), self.clock.unix());
        let update = spent(Update::new()).add(ASKED, asked(owner)).set("asked_at", n(now)).when(
            "attribute_exists(pk) AND (attribute_not_exists(asked) OR size(asked) < :most \
             OR (asked_at < :opened AND asked_at <= :before))",
            &[
                (":most", n(CODES_ASKED)),
                (":opened", n(page.opened_at)),
                (":before", n(now - PAGE_REUSED_SECONDS)),
            ],
        );
        let written = self.update(&self.platform, &keys::binding(&page.binding_id), update).await?;
        let own = |item: &Attributes| {
            let asked = item.get(ASKED).and_then(|asked| asked.as_ss().ok());
            asked.is_some_and(|asked| asked.contains(&owner.to_string()))
        };
        Ok(written.or_if(own).done().then_some(owner))
    }

    /// What came of `owner`'s question says nothing against the code: it does not count.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn code_counts_not(&self, binding_id: &str, owner: Owner) -> Result<(), Error> {
        let update = Update::new().take(ASKED, asked(owner)).when("attribute_exists(pk)", &[]);
        self.update(&self.platform, &keys::binding(binding_id), update).await.map(drop)
    }

    /// Ends a binding that is not bound yet; one that was refused may be tried again. Answers it as it is then: of two
    /// outcomes at once, `bound` wins.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_binding(&self, id: &str, ended: BindingEnd<'_>) -> Result<Option<Binding>, Error> {
        let status = if ended.reason.is_some() { BindingStatus::Refused } else { BindingStatus::Bound };
        let update = Update::new()
            .set("status", any(&status)?)
            .set("app_id", s(ended.app_id))
            .set("account_name", s(ended.name))
            .set("ended_by", s(ended.code))
            .remove("event_at")
            .when(
                "attribute_exists(pk) AND NOT #status = :bound",
                &[(":bound", any(&BindingStatus::Bound)?)],
            );
        let update = match ended.reason {
            Some(reason) => update.set("reason", s(reason)),
            None => update.remove("reason"),
        };
        match self.update(&self.platform, &keys::binding(id), update).await? {
            Written::Done(item) | Written::Refused(Some(item)) => read(item).map(Some),
            Written::Refused(None) => Ok(None),
        }
    }
}

/// One who asks, as a set.
fn asked(owner: Owner) -> AttributeValue {
    AttributeValue::Ss(vec![owner.to_string()])
}

/// A pre_auth_code is for one attempt: WeChat refuses it from then on, so no page may show it again.
fn spent(update: Update) -> Update {
    update.remove("pre_auth_code")
}
