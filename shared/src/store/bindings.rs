//! Bindings: an attempt to bind an account, from its link to its outcome.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Store, keys,
    table::{Update, Written, any, item, n, read, s},
};
use crate::error::Error;

/// How long after its end a binding is kept, seconds.
const KEPT_SECONDS: i64 = 90 * 24 * 3600;
/// How long a pre_auth_code still finds its binding after it expired, seconds: the event can be late.
const PRE_AUTH_KEPT_SECONDS: i64 = 24 * 3600;

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
    /// Why it was refused.
    pub reason: Option<String>,
    /// Where the last page leads.
    pub return_url: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its link dies.
    pub expires_at: Timestamp,
    /// The pre_auth_code in use, so that a reload does not burn another.
    pub pre_auth_code: Option<String>,
    /// When that code dies, unix seconds.
    pub pre_auth_expires: Option<i64>,
    /// When WeChat's event of the authorization came, unix seconds: a job is at it.
    pub event_at: Option<i64>,
}

impl Binding {
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

#[derive(Serialize, Deserialize)]
struct PreAuth {
    binding_id: String,
}

impl Store {
    /// Stores a new binding; the same id again changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_binding(&self, binding: &Binding) -> Result<(), Error> {
        let ttl = binding.expires_at.as_second() + KEPT_SECONDS;
        self.put_new(&self.platform, item(&keys::binding(&binding.id), binding, Some(ttl))?).await.map(drop)
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

    /// The binding whose page used `pre_auth_code`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn binding_of_pre_auth_code(&self, pre_auth_code: &str) -> Result<Option<Binding>, Error> {
        let found: Option<PreAuth> = self.get(&self.platform, &keys::pre_auth_code(pre_auth_code)).await?;
        match found {
            Some(pre) => self.binding_by_link(&pre.binding_id).await,
            None => Ok(None),
        }
    }

    /// Notes on a binding that its authorization event has come.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn note_authorization(&self, pre_auth_code: &str) -> Result<(), Error> {
        let Some(binding) = self.binding_of_pre_auth_code(pre_auth_code).await? else { return Ok(()) };
        let update = Update::new().set("event_at", n(self.clock.unix()));
        self.update(&self.platform, &keys::binding(&binding.id), update).await.map(drop)
    }

    /// Remembers which binding a pre_auth_code belongs to; it dies at `expires`, unix seconds. The code's own
    /// item comes first: an event must find its binding even if we crash in between.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_pre_auth_code(&self, binding_id: &str, code: &str, expires: i64) -> Result<(), Error> {
        let pre = PreAuth { binding_id: binding_id.to_owned() };
        self.put(
            &self.platform,
            item(&keys::pre_auth_code(code), &pre, Some(expires + PRE_AUTH_KEPT_SECONDS))?,
        )
        .await?;
        let update = Update::new().set("pre_auth_code", s(code)).set("pre_auth_expires", n(expires));
        self.update(&self.platform, &keys::binding(binding_id), update).await.map(drop)
    }

    /// Ends a binding that is not bound yet. Answers it as it is then: of two outcomes at once, `bound` wins.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_binding(
        &self,
        id: &str,
        status: BindingStatus,
        app_id: Option<&str>,
        reason: Option<&str>,
    ) -> Result<Option<Binding>, Error> {
        let mut update = Update::new().set("status", any(&status)?).set_some("app_id", app_id.map(s)).when(
            "attribute_exists(pk) AND NOT #status = :bound",
            &[(":bound", any(&BindingStatus::Bound)?)],
        );
        update = match reason {
            Some(reason) => update.set("reason", s(reason)),
            None => update.remove("reason"),
        };
        match self.update(&self.platform, &keys::binding(id), update).await? {
            Written::Done(item) | Written::Refused(Some(item)) => read(item).map(Some),
            Written::Refused(None) => Ok(None),
        }
    }
}
