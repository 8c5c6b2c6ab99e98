//! The progress of an import: pages listed, chunks stored, shards reconciled. A list is stored before its
//! chunks are queued, and a chunk's receipt *is* its count: both can be written many times and count once.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    dynamo::{
        Attributes, conditional_write::ConditionalWrite, database::Database, from_item, n, query::Query, s,
        to_item, update::Update,
    },
    imports::update_import,
    keys,
};
use crate::{
    error::{Error, StoreError},
    model::{
        import::{Import, ShardProgress},
        listed_page::ListedPage,
    },
};

/// How long lists and receipts are kept, seconds: longer than any import lasts, pauses included.
const PAGE_RETENTION_SECONDS: i64 = 30 * 24 * 3600;
/// Receipts of pages read in one query.
const RECEIPTS_PER_QUERY: i32 = 500;
/// The progress of imports.
#[derive(Clone, Copy)]
pub struct ImportProgress<'a> {
    pub(super) db: &'a Database,
}

impl ImportProgress<'_> {
    /// Stores a listed page once and returns the first one stored, so that its chunks never change.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_page(
        self,
        import: &Import,
        page: u32,
        listed: &ListedPage,
    ) -> Result<ListedPage, Error> {
        let ttl = self.db.clock.unix() + PAGE_RETENTION_SECONDS;
        match self
            .db
            .put_if_absent(&self.db.work, to_item(&keys::page_list(&import.id, page), listed, Some(ttl))?)
            .await?
        {
            ConditionalWrite::Done(_) => Ok(listed.clone()),
            ConditionalWrite::ConditionFailed(Some(before)) => from_item(before),
            ConditionalWrite::ConditionFailed(None) => {
                Err(StoreError::Unavailable("the page that exists was not answered".into()).into())
            }
        }
    }

    /// A page as listed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn page(self, import_id: &str, page: u32) -> Result<Option<ListedPage>, Error> {
        match self.db.get(&self.db.work, &keys::page_list(import_id, page)).await? {
            Some(listed) => Ok(Some(listed)),
            None => self.db.get(&self.db.work, &keys::page_list_of_0_1(import_id, page)).await,
        }
    }

    /// The same for half of the read units, for a page that was counted long ago: a list never changes, so
    /// any that is returned is right.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn page_eventually_consistent(
        self,
        import_id: &str,
        page: u32,
    ) -> Result<Option<ListedPage>, Error> {
        match self.db.get_eventually_consistent(&self.db.work, &keys::page_list(import_id, page)).await? {
            Some(listed) => Ok(Some(listed)),
            None => self.page(import_id, page).await,
        }
    }

    /// Counts a listed page once and returns the import as it is then. `by` is the message that counts it.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn count_page(
        self,
        import: &Import,
        page: u32,
        listed: &ListedPage,
        by: &str,
    ) -> Result<Import, Error> {
        let mut update = Update::new()
            .add("followers_listed", n(listed.open_ids.len()))
            .set("pages_listed", n(page + 1))
            .set("listed_by", s(by))
            .set("moved_at", n(self.db.clock.unix()))
            .set_if_absent("followers_total", n(listed.total))
            .when("pages_listed = :page", &[(":page", n(page))]);
        update = match &listed.next_cursor {
            Some(cursor) => update.set("next_cursor", s(cursor)),
            None => update
                .remove("next_cursor")
                .set("listing_done", AttributeValue::Bool(true))
                .set_some("listing_cut", listed.cut.as_deref().map(s)),
        };
        let key = keys::import(&import.app_id, &import.id);
        match self.db.update(&self.db.work, &key, update).await? {
            ConditionalWrite::Done(item) | ConditionalWrite::ConditionFailed(Some(item)) => from_item(item),
            ConditionalWrite::ConditionFailed(None) => Err(StoreError::Missing("the import is gone").into()),
        }
    }

    /// Stores the receipt of a chunk and returns all of its page: `chunk → how many it stored`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_receipt(
        self,
        import_id: &str,
        page: u32,
        chunk: u32,
        imported: u64,
    ) -> Result<BTreeMap<u32, u64>, Error> {
        let update = Update::new()
            .set(&receipt_name(chunk), n(imported))
            .set("ttl", n(self.db.clock.unix() + PAGE_RETENTION_SECONDS));
        match self.db.update(&self.db.work, &keys::page_done(import_id, page), update).await? {
            ConditionalWrite::Done(item) => Ok(read_receipts(&item)),
            ConditionalWrite::ConditionFailed(_) => {
                Err(StoreError::Rejected("a receipt was refused".into()).into())
            }
        }
    }

    /// Receipts of one page.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn page_receipts(self, import_id: &str, page: u32) -> Result<BTreeMap<u32, u64>, Error> {
        let found = self.db.get_item(&self.db.work, &keys::page_done(import_id, page)).await?;
        Ok(found.as_ref().map(read_receipts).unwrap_or_default())
    }

    /// Receipts of all pages that have some.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn all_receipts(self, import_id: &str) -> Result<BTreeMap<u32, BTreeMap<u32, u64>>, Error> {
        let pk = keys::page_done(import_id, 0).pk;
        let receipts = Query::on(&self.db.work, pk, RECEIPTS_PER_QUERY).prefix(keys::PAGE_DONE_PREFIX);
        let of_page = |entry: &Attributes| {
            let number = entry.get("sk")?.as_s().ok()?.strip_prefix(keys::PAGE_DONE_PREFIX)?;
            Some((number.parse().ok()?, read_receipts(entry)))
        };
        Ok(self.db.query_all(receipts).await?.iter().filter_map(of_page).collect())
    }

    /// Marks a page whose chunks are all done and returns the import as it is then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_page_done(
        self,
        app_id: &str,
        import_id: &str,
        page: u32,
        imported: u64,
    ) -> Result<Import, Error> {
        let update = Update::new()
            .set_map_entry("pages_done", &page.to_string(), n(imported))
            .set("moved_at", n(self.db.clock.unix()))
            .when("attribute_exists(pk)", &[]);
        update_import(self.db, app_id, import_id, update).await
    }

    /// Marks a reconciled shard and returns the import as it is then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_shard_done(self, app_id: &str, import_id: &str, shard: u32) -> Result<Import, Error> {
        let update = Update::new()
            .add("shards_done", AttributeValue::Ns(vec![shard.to_string()]))
            .set("moved_at", n(self.db.clock.unix()))
            .when("attribute_exists(pk)", &[]);
        update_import(self.db, app_id, import_id, update).await
    }

    /// How far each shard is reconciled that is not done.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn shard_progress(
        self,
        app_id: &str,
        import_id: &str,
    ) -> Result<BTreeMap<u32, ShardProgress>, Error> {
        let found = self.db.get_item(&self.db.work, &keys::import(app_id, import_id)).await?;
        Ok(found.as_ref().map(read_shard_progress).unwrap_or_default())
    }

    /// Records that the message `by` reconciled a shard from `from` up to the customer `to`. Returns `false`
    /// where another message did so from there: the caller need not continue.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn advance_shard(
        self,
        import: &Import,
        shard: u32,
        from: Option<&str>,
        to: &str,
        by: &str,
    ) -> Result<bool, Error> {
        let (after, whose) = (format!("{SHARD_PREFIX}{shard}"), format!("{SHARD_PREFIX}{shard}{BY_SUFFIX}"));
        let update = Update::new()
            .set(&after, s(to))
            .set(&whose, s(by))
            .set("moved_at", n(self.db.clock.unix()))
            .when(
                &format!(
                    "attribute_exists(pk) AND (#{whose} = :by OR {})",
                    match from {
                        Some(_) => format!("attribute_not_exists(#{after}) OR #{after} = :from"),
                        None => format!("attribute_not_exists(#{after})"),
                    }
                ),
                &[(":by", Some(s(by))), (":from", from.map(s))]
                    .into_iter()
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect::<Vec<_>>(),
            );
        Ok(self.db.update(&self.db.work, &keys::import(&import.app_id, &import.id), update).await?.is_done())
    }
}

const RECEIPT_PREFIX: &str = "chunk_";
const SHARD_PREFIX: &str = "shard_";
const BY_SUFFIX: &str = "_by";

fn read_shard_progress(item: &Attributes) -> BTreeMap<u32, ShardProgress> {
    let place = |(name, value): (&String, &AttributeValue)| {
        let shard = name.strip_prefix(SHARD_PREFIX)?.parse().ok()?;
        let by = item
            .get(&format!("{name}{BY_SUFFIX}"))
            .and_then(|by| by.as_s().ok())
            .cloned()
            .unwrap_or_default();
        Some((shard, ShardProgress { after: value.as_s().ok()?.clone(), by }))
    };
    item.iter().filter_map(place).collect()
}

fn receipt_name(chunk: u32) -> String {
    format!("{RECEIPT_PREFIX}{chunk}")
}

fn read_receipts(item: &Attributes) -> BTreeMap<u32, u64> {
    let number = |(name, value): (&String, &AttributeValue)| {
        Some((name.strip_prefix(RECEIPT_PREFIX)?.parse().ok()?, value.as_n().ok()?.parse().ok()?))
    };
    item.iter().filter_map(number).collect()
}
