//! What a round of sending needs, read in one request: accounts, fans, quotas, waiting lines, and messages
//! that waited. All reads are consistent, since messages may be refused for good because of them.

use std::collections::HashMap;

use super::{
    dynamo::{Attributes, database::Database, from_item},
    keys::{self, Key},
    waiting_lines,
};
use crate::{
    error::Error,
    model::{
        account::AccountRecord,
        fan::{Fan, FanId},
        message::{Channel, MessageRecord},
        quota::QuotaRefusal,
        tenant::Tenant,
        waiting_line::WaitingLine,
    },
};

/// What is to be read.
#[derive(Debug, Default)]
pub struct SendContextRequest<'a> {
    /// Tenants.
    pub tenants: Vec<&'a str>,
    /// Accounts.
    pub accounts: Vec<&'a str>,
    /// Fans.
    pub fans: Vec<FanId<'a>>,
    /// Waiting lines, by fan and channel.
    pub waiting_lines: Vec<(FanId<'a>, Channel)>,
    /// Quotas, by account and API.
    pub quotas: Vec<(&'a str, &'a str)>,
    /// Messages.
    pub messages: Vec<&'a str>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct SendContext {
    items: HashMap<Key, Attributes>,
}

impl SendContext {
    fn find<T: serde::de::DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        self.items.get(key).cloned().map(from_item).transpose()
    }

    /// A tenant.
    ///
    /// # Errors
    /// [`Error::Item`], as all methods of this type.
    pub fn tenant(&self, id: &str) -> Result<Option<Tenant>, Error> {
        self.find(&keys::tenant(id))
    }

    /// An account, whichever tenant has it, unless it was deleted.
    ///
    /// # Errors
    /// [`Error::Item`].
    pub fn account(&self, app_id: &str) -> Result<Option<AccountRecord>, Error> {
        let found: Option<AccountRecord> = self.find(&keys::account(app_id))?;
        Ok(found.filter(|account| !account.deleted))
    }

    /// A fan.
    ///
    /// # Errors
    /// [`Error::Item`].
    pub fn fan(&self, fan: FanId<'_>) -> Result<Option<Fan>, Error> {
        self.find(&keys::fan(fan.tenant, fan.app_id, fan.open_id))
    }

    /// The messages that wait to reach a fan by a channel.
    ///
    /// # Errors
    /// [`Error::Item`].
    pub fn waiting_line(&self, fan: FanId<'_>, channel: Channel) -> Result<Option<WaitingLine>, Error> {
        self.find(&waiting_lines::line_key(fan, channel))
    }

    /// The newest refusal of an account's API; it may be over.
    ///
    /// # Errors
    /// [`Error::Item`].
    pub fn quota(&self, app_id: &str, api: &str) -> Result<Option<QuotaRefusal>, Error> {
        self.find(&keys::quota(app_id, api))
    }

    /// A tenant's message.
    ///
    /// # Errors
    /// [`Error::Item`].
    pub fn message(&self, tenant: &str, id: &str) -> Result<Option<MessageRecord>, Error> {
        let found: Option<MessageRecord> = self.find(&keys::message(id))?;
        Ok(found.filter(|message| message.tenant_id == tenant))
    }
}

/// What rounds of sending read.
#[derive(Clone, Copy)]
pub struct SendContexts<'a> {
    pub(super) db: &'a Database,
}

impl SendContexts<'_> {
    /// Reads what `wanted` names; missing items are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn read(self, wanted: &SendContextRequest<'_>) -> Result<SendContext, Error> {
        let mut keys = Vec::new();
        keys.extend(wanted.tenants.iter().map(|id| (self.db.platform.as_str(), keys::tenant(id))));
        keys.extend(wanted.accounts.iter().map(|app_id| (self.db.platform.as_str(), keys::account(app_id))));
        let fan = |fan: &FanId<'_>| keys::fan(fan.tenant, fan.app_id, fan.open_id);
        keys.extend(wanted.fans.iter().map(|one| (self.db.customers.as_str(), fan(one))));
        keys.extend(
            wanted
                .waiting_lines
                .iter()
                .map(|(fan, way)| (self.db.work.as_str(), waiting_lines::line_key(*fan, *way))),
        );
        keys.extend(wanted.quotas.iter().map(|(app, api)| (self.db.work.as_str(), keys::quota(app, api))));
        keys.extend(wanted.messages.iter().map(|id| (self.db.work.as_str(), keys::message(id))));
        // DynamoDB takes no request that names an item twice
        keys.sort_by(|(_, a), (_, b)| (&a.pk, &a.sk).cmp(&(&b.pk, &b.sk)));
        keys.dedup_by(|(_, a), (_, b)| a == b);
        let found = self.db.get_from_tables(&keys).await?;
        let word = |item: &Attributes, name: &str| item.get(name).and_then(|v| v.as_s().ok()).cloned();
        let keyed = |item: Attributes| Some((Key { pk: word(&item, "pk")?, sk: word(&item, "sk")? }, item));
        Ok(SendContext { items: found.into_iter().filter_map(keyed).collect() })
    }
}
