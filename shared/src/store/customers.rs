//! Customers, found by the index `people`. A customer is its fans; only a merged one has its own item.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    dynamo::{database::Database, from_item, query::Query, read_valid, s, update::Update},
    fans::customer_shard,
    keys,
};
use crate::{
    error::Error,
    model::{customer::CustomerRecord, fan::Fan},
};

/// Index entries read in one query.
const INDEX_ENTRIES_PER_QUERY: i32 = 400;
/// Index entries that one listing reads before it returns a cursor, even with few hits.
const MAX_SCANNED_ENTRIES: usize = 1_000;
/// A customer may be merged into one that was merged itself; longer chains than this are a defect.
const MAX_MERGE_HOPS: usize = 8;

/// The item of a customer that was merged into another.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CustomerRedirect {
    /// The customer that this one became part of.
    pub merged_into: Option<String>,
}

/// Where a listing continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerCursor {
    /// The shard.
    pub shard: u32,
    /// The customer listed last.
    pub after: String,
}

/// A page of one shard of the index: keys of fans by customer.
pub struct CustomerShardPage {
    /// (app id, openid) by customer id; complete for each customer.
    pub customers: BTreeMap<String, Vec<(String, String)>>,
    /// The last customer, where there are more.
    pub more_after: Option<String>,
}

/// The customers of tenants.
#[derive(Clone, Copy)]
pub struct Customers<'a> {
    pub(super) db: &'a Database,
}

impl<'a> Customers<'a> {
    /// A tenant's customer; the id of a merged one returns the customer it became part of.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, tenant: &str, id: &str) -> Result<Option<CustomerRecord>, Error> {
        let mut id = id.to_owned();
        for _ in 0..MAX_MERGE_HOPS {
            let fans = self.fans_of_customer(tenant, &id).await?;
            if !fans.is_empty() {
                return Ok(Some(CustomerRecord { id, fans }));
            }
            let item: Option<CustomerRedirect> =
                self.db.get(&self.db.customers, &keys::customer(tenant, &id)).await?;
            match item.and_then(|i| i.merged_into) {
                Some(into) => id = into,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Entries of the index, by customer.
    fn shard_entries(self, tenant: &str, shard: u32) -> Query<'a> {
        let partition = keys::customers_partition(tenant, shard);
        Query::on(&self.db.customers, partition, INDEX_ENTRIES_PER_QUERY).index(keys::CUSTOMER_INDEX)
    }

    async fn fans_of_customer(self, tenant: &str, id: &str) -> Result<Vec<Fan>, Error> {
        let entries = self.shard_entries(tenant, customer_shard(id)).equal(id);
        let page = self.db.query(entries).await?;
        let keys: Vec<_> = page
            .items
            .iter()
            .filter_map(|i| keys::fan_of(i.get("pk")?.as_s().ok()?))
            .map(|(app, open)| keys::fan(tenant, app, open))
            .collect();
        self.db.get_many(&self.db.customers, &keys).await?.into_iter().map(from_item).collect()
    }

    /// Redirects the id `old` to the customer `new`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn redirect(self, tenant: &str, old: &str, new: &str) -> Result<(), Error> {
        let update = Update::new().set("merged_into", s(new));
        self.db.update(&self.db.customers, &keys::customer(tenant, old), update).await.map(drop)
    }

    /// One page of one shard of a tenant's customers.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn in_shard(
        self,
        tenant: &str,
        shard: u32,
        after: Option<&str>,
    ) -> Result<CustomerShardPage, Error> {
        let entries = self.shard_entries(tenant, shard).after(after.unwrap_or(" "));
        let page = self.db.query(entries).await?;
        let mut customers: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for entry in &page.items {
            let text = |name: &str| entry.get(name).and_then(|v| v.as_s().ok());
            let (Some(id), Some(pk)) = (text("customer_id"), text("pk")) else { continue };
            let fans = customers.entry(id.clone()).or_default();
            if let Some((app, open)) = keys::fan_of(pk) {
                fans.push((app.to_owned(), open.to_owned()));
            }
        }
        let mut more_after = None;
        if page.next.is_some() {
            // the page may end among the last customer's fans: the next one begins with that customer
            if customers.len() > 1 {
                customers.pop_last();
            }
            more_after = customers.keys().next_back().cloned();
        }
        Ok(CustomerShardPage { customers, more_after })
    }

    /// Up to `limit` of a tenant's customers that `keep` accepts, and the cursor. A page may hold fewer than
    /// `limit` and still have a cursor: a listing reads at most [`MAX_SCANNED_ENTRIES`] entries.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        self,
        tenant: &str,
        limit: usize,
        cursor: Option<CustomerCursor>,
        keep: impl Fn(&Fan) -> bool,
    ) -> Result<(Vec<CustomerRecord>, Option<CustomerCursor>), Error> {
        let (mut shard, mut after) = cursor.map_or((0, None), |c| (c.shard, Some(c.after)));
        let (mut found, mut looked_at) = (Vec::new(), 0);
        while shard < keys::CUSTOMER_SHARDS {
            let page = self.in_shard(tenant, shard, after.as_deref()).await?;
            let keys: Vec<_> =
                page.customers.values().flatten().map(|(app, open)| keys::fan(tenant, app, open)).collect();
            looked_at += keys.len();
            let mut fans: BTreeMap<String, Vec<Fan>> = BTreeMap::new();
            for fan in read_valid::<Fan>(self.db.get_many(&self.db.customers, &keys).await?) {
                // a fan that just became another customer's is listed there: the cursor must not jump
                if !page.customers.contains_key(&fan.customer_id) {
                    continue;
                }
                fans.entry(fan.customer_id.clone()).or_default().push(fan);
            }
            for (id, mut fans) in fans {
                if fans.iter().any(&keep) {
                    fans.sort_by(|a, b| (&a.app_id, &a.open_id).cmp(&(&b.app_id, &b.open_id)));
                    found.push(CustomerRecord { id: id.clone(), fans });
                    if found.len() == limit {
                        return Ok((found, Some(CustomerCursor { shard, after: id })));
                    }
                }
            }
            after = page.more_after;
            if after.is_none() {
                shard += 1;
            }
            if looked_at >= MAX_SCANNED_ENTRIES && shard < keys::CUSTOMER_SHARDS {
                let after = after.unwrap_or_else(|| " ".into());
                return Ok((found, Some(CustomerCursor { shard, after })));
            }
        }
        Ok((found, None))
    }
}
