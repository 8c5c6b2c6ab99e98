//! Bindings: an attempt to bind an account, from the link to the result.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    consents::store_page_by_code,
    dynamo::{
        Attributes, conditional_write::ConditionalWrite, database::Database, from_item, n, s, to_attr,
        to_item, update::Update, writer_id::WriterId,
    },
    keys,
};
use crate::{
    error::Error,
    model::{
        authorization::{AuthorizationPage, code_fingerprint},
        binding::{Binding, BindingOutcome, BindingStatus, PAGE_REUSED_SECONDS},
    },
};

/// How long a binding is stored after its link expires, seconds.
const BINDING_RETENTION_SECONDS: i64 = 90 * 24 * 3600;
/// Attribute of a binding: the set of queries to WeChat about authorization codes that browsers brought.
const CODE_QUERIES: &str = "asked";
/// Queries to WeChat about browsers' codes for one link; beyond them one a minute, for a page that was opened
/// since the last one. The authorization event still binds after that.
const MAX_CODE_QUERIES: u32 = 10;

/// Links by which tenants bind accounts.
#[derive(Clone, Copy)]
pub struct Bindings<'a> {
    pub(super) db: &'a Database,
}

impl Bindings<'_> {
    /// Stores a new binding and returns the stored one: the same id twice changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create(self, binding: &Binding) -> Result<Binding, Error> {
        let ttl = binding.expires_at.as_second() + BINDING_RETENTION_SECONDS;
        let new = to_item(&keys::binding(&binding.id), binding, Some(ttl))?;
        match self.db.put_if_absent(&self.db.platform, new).await? {
            ConditionalWrite::ConditionFailed(Some(before)) => from_item(before),
            ConditionalWrite::Done(_) | ConditionalWrite::ConditionFailed(None) => Ok(binding.clone()),
        }
    }

    /// A tenant's binding.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, tenant: &str, id: &str) -> Result<Option<Binding>, Error> {
        Ok(self.by_link(id).await?.filter(|binding| binding.tenant_id == tenant))
    }

    /// The binding of a link: whoever holds the link may see its page, so there is no tenant to check.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn by_link(self, id: &str) -> Result<Option<Binding>, Error> {
        self.db.get(&self.db.platform, &keys::binding(id)).await
    }

    /// Revokes a tenant's link: its page is gone, and a consent that began on it binds nothing. What it bound
    /// stays bound. Returns whether there was one; a second call changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn delete(self, tenant: &str, id: &str) -> Result<bool, Error> {
        if self.get(tenant, id).await?.is_none() {
            return Ok(false);
        }
        let its_own = [(":tenant", s(tenant))];
        self.db.delete_if(&self.db.platform, &keys::binding(id), "tenant_id = :tenant", &its_own).await?;
        Ok(true)
    }

    /// Records that the authorization event of a page came: a job handles it, the page's code is used.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_authorization_event(self, page: &AuthorizationPage) -> Result<(), Error> {
        let update = without_pre_auth_code(Update::new())
            .set("event_at", n(self.db.clock.unix()))
            .when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::binding(&page.binding_id), update).await.map(drop)
    }

    /// Records that the job of an authorization event ended without a result for the page's binding.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn clear_authorization_event(self, page: &AuthorizationPage) -> Result<(), Error> {
        let update = Update::new().remove("event_at").when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::binding(&page.binding_id), update).await.map(drop)
    }

    /// Stores the pre_auth_code that was just made for a page; it expires at `expires`, unix seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_pre_auth_code(
        self,
        binding: &Binding,
        code: &str,
        expires: i64,
    ) -> Result<AuthorizationPage, Error> {
        let page = AuthorizationPage {
            binding_id: binding.id.clone(),
            tenant_id: binding.tenant_id.clone(),
            opened_at: self.db.clock.unix(),
            expires_at: expires,
            fingerprint: code_fingerprint(code),
        };
        store_page_by_code(self.db, code, &page).await?;
        let update = Update::new()
            .set("pre_auth_code", s(code))
            .set("pre_auth_at", n(page.opened_at))
            .set("pre_auth_expires", n(expires))
            .when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::binding(&binding.id), update).await?;
        Ok(page)
    }

    /// Returns the id of a query to WeChat about a code from a browser that opened `page`, if one more is
    /// allowed; [`Bindings::uncount_code_query`] takes it. The page's pre_auth_code counts as used from here on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn begin_code_query(self, page: &AuthorizationPage) -> Result<Option<WriterId>, Error> {
        let (owner, now) = (self.db.new_writer_id(), self.db.clock.unix());
        let update = without_pre_auth_code(Update::new())
            .add(CODE_QUERIES, writer_set(owner))
            .set("asked_at", n(now))
            .when(
                "attribute_exists(pk) AND (attribute_not_exists(asked) OR size(asked) < :most \
             OR (asked_at < :opened AND asked_at <= :before))",
                &[
                    (":most", n(MAX_CODE_QUERIES)),
                    (":opened", n(page.opened_at)),
                    (":before", n(now - PAGE_REUSED_SECONDS)),
                ],
            );
        let written = self.db.update(&self.db.platform, &keys::binding(&page.binding_id), update).await?;
        let own = |item: &Attributes| {
            let asked = item.get(CODE_QUERIES).and_then(|asked| asked.as_ss().ok());
            asked.is_some_and(|asked| asked.contains(&owner.to_string()))
        };
        Ok(written.or_done_if(own).is_done().then_some(owner))
    }

    /// Takes back the query of `owner`: its result says nothing against the code, so it does not count.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn uncount_code_query(self, binding_id: &str, owner: WriterId) -> Result<(), Error> {
        let update =
            Update::new().delete_from_set(CODE_QUERIES, writer_set(owner)).when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::binding(binding_id), update).await.map(drop)
    }

    /// Ends a binding that is not bound yet; a refused one may be tried again. Returns the binding as it is
    /// then: of two concurrent results `bound` wins.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end(self, id: &str, ended: BindingOutcome<'_>) -> Result<Option<Binding>, Error> {
        let status = if ended.reason.is_some() { BindingStatus::Refused } else { BindingStatus::Bound };
        let update = Update::new()
            .set("status", to_attr(&status)?)
            .set("app_id", s(ended.app_id))
            .set("account_name", s(ended.name))
            .set("ended_by", s(ended.code))
            .remove("event_at")
            .when(
                "attribute_exists(pk) AND NOT #status = :bound",
                &[(":bound", to_attr(&BindingStatus::Bound)?)],
            );
        let update = match ended.reason {
            Some(reason) => update.set("reason", s(reason.name())),
            None => update.remove("reason"),
        };
        match self.db.update(&self.db.platform, &keys::binding(id), update).await? {
            ConditionalWrite::Done(item) | ConditionalWrite::ConditionFailed(Some(item)) => {
                from_item(item).map(Some)
            }
            ConditionalWrite::ConditionFailed(None) => Ok(None),
        }
    }
}

/// A set with one writer.
fn writer_set(owner: WriterId) -> AttributeValue {
    AttributeValue::Ss(vec![owner.to_string()])
}

/// WeChat accepts a pre_auth_code once, so no page may show it again.
fn without_pre_auth_code(update: Update) -> Update {
    update.remove("pre_auth_code")
}
