//! Imports. A page's list is stored before it is fanned out, and a chunk's receipt *is* its count: both can be
//! written any number of times and count once.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{
    Store, keys,
    open_imports::Open,
    table::{Attributes, Query, Update, Written, any, item, n, put_action, read, s},
};
use crate::error::Error;

/// How long lists and receipts are kept, seconds: longer than any import lasts, pauses included.
const PAGES_KEPT_SECONDS: i64 = 30 * 24 * 3600;
/// Receipts of pages read at once.
const PAGES_PER_QUERY: i32 = 500;

/// How often a start looks again whether the import in its way has ended.
const START_TRIES: u32 = 3;

/// Who resumes an import whose tenant does not want to wait.
pub const RESUMED_BY_API: &str = "api";

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    /// It goes on.
    Running,
    /// It waits for WeChat's quota until `paused_until`.
    Paused,
    /// Everybody is here and those who left are marked.
    Completed,
    /// It cannot go on; `error` says why.
    Failed,
}

/// An import as stored. Times are unix seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Import {
    /// `imp_…`.
    pub id: String,
    /// The account.
    pub app_id: String,
    /// Whose.
    pub tenant_id: String,
    /// Where it stands.
    pub status: ImportStatus,
    /// WeChat's `total` on the first page.
    pub followers_total: Option<u64>,
    /// Openids listed so far.
    #[serde(default)]
    pub followers_listed: u64,
    /// Pages listed so far.
    #[serde(default)]
    pub pages_listed: u32,
    /// The cursor of the page to list next; none when all are listed.
    pub next_cursor: Option<String>,
    /// Whether the last page was listed.
    #[serde(default)]
    pub listing_done: bool,
    /// Why the list ended before everybody was on it. Nobody may then be taken for gone.
    pub listing_cut: Option<String>,
    /// Pages whose chunks are all done, with their counts: `page → imported`.
    #[serde(default)]
    pub pages_done: BTreeMap<String, u64>,
    /// Shards of people that were reconciled.
    #[serde(default)]
    pub shards_done: Vec<u32>,
    /// When it began.
    pub started_at: i64,
    /// When it last came nearer to its end, paused or went on; 0 in imports of before that was noted.
    #[serde(default)]
    pub moved_at: i64,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// When it looks again.
    pub paused_until: Option<i64>,
    /// Why it paused or failed.
    pub error: Option<String>,
}

/// A page as listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedPage {
    /// Whom it holds; stored as one text, which is read much faster than ten thousand.
    #[serde(rename = "open_id_lines", alias = "open_ids", with = "lines")]
    pub open_ids: Vec<String>,
    /// WeChat's cursor of the next one; none on the last.
    pub next_cursor: Option<String>,
    /// WeChat's `total` on this page.
    pub total: u64,
    /// Why the list ends here although more should follow.
    pub cut: Option<String>,
}

impl Import {
    /// Followers whose page is here in full.
    #[must_use]
    pub fn followers_imported(&self) -> u64 {
        self.pages_done.values().sum()
    }

    /// Whether everybody who was listed is here, and nobody more will be.
    #[must_use]
    pub fn all_here(&self) -> bool {
        self.listing_done && (0..self.pages_listed).all(|p| self.pages_done.contains_key(&p.to_string()))
    }
}

/// What became of starting one.
pub enum Started {
    /// It is new.
    New,
    /// This one is still running or paused, or it has the very id that was to be started.
    Running(Box<Import>),
}

impl Store {
    /// Starts an import unless one runs on the account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn start_import(&self, import: &Import) -> Result<Started, Error> {
        let lock =
            item(&keys::import_running(&import.app_id), &Running { import_id: import.id.clone() }, None)?;
        let mut stored = item(&keys::import(&import.app_id, &import.id), import, None)?;
        stored.insert("pages_done".into(), AttributeValue::M(Attributes::new()));
        stored.remove("shards_done"); // a set, which cannot be empty
        let free = Some(("attribute_not_exists(pk)", Attributes::new()));
        let listed = item(&keys::open_import(&import.id), &Open { app_id: import.app_id.clone() }, None)?;
        let actions = vec![
            put_action(&self.work, lock, free.clone())?,
            put_action(&self.work, stored, free)?,
            put_action(&self.work, listed, None)?,
        ];
        for _ in 0..START_TRIES {
            if self.transact(actions.clone()).await? {
                return Ok(Started::New);
            }
            if let Some(same) = self.import(&import.app_id, &import.id).await? {
                return Ok(Started::Running(Box::new(same)));
            }
            // none where the other one ended meanwhile: then the lock is free
            if let Some(running) = self.running_import(&import.app_id).await? {
                return Ok(Started::Running(Box::new(running)));
            }
        }
        Err(Error::Store("imports of this account end and start all the time".into()))
    }

    /// The import that runs or pauses on an account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn running_import(&self, app_id: &str) -> Result<Option<Import>, Error> {
        match self.get::<Running>(&self.work, &keys::import_running(app_id)).await? {
            Some(running) => self.import(app_id, &running.import_id).await,
            None => Ok(None),
        }
    }

    /// An import of an account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn import(&self, app_id: &str, id: &str) -> Result<Option<Import>, Error> {
        if id == keys::import_running("").sk {
            return Ok(None);
        }
        self.get(&self.work, &keys::import(app_id, id)).await
    }

    /// An account's imports, newest first, before the id `before`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn imports(
        &self,
        app_id: &str,
        limit: u32,
        before: Option<&str>,
    ) -> Result<Vec<Import>, Error> {
        let key = keys::import(app_id, before.unwrap_or("imp_~"));
        let page = self
            .query(Query {
                table: &self.work,
                index: None,
                consistent: true,
                condition: "pk = :pk AND sk BETWEEN :first AND :before",
                names: &[],
                values: &[(":pk", s(&key.pk)), (":first", s("imp_")), (":before", s(&key.sk))],
                descending: true,
                limit: i32::try_from(limit + 1).unwrap_or(i32::MAX),
                start: None,
            })
            .await?;
        let mut found = page.items.into_iter().map(read::<Import>).collect::<Result<Vec<_>, _>>()?;
        found.retain(|i| Some(i.id.as_str()) != before);
        found.truncate(limit as usize);
        Ok(found)
    }

    /// Stores a listed page once: what was stored first stands, so that its chunks are always the same.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_page(
        &self,
        import: &Import,
        page: u32,
        listed: &ListedPage,
    ) -> Result<ListedPage, Error> {
        let ttl = self.clock.unix() + PAGES_KEPT_SECONDS;
        match self.put_new(&self.work, item(&keys::page_list(&import.id, page), listed, Some(ttl))?).await? {
            Written::Done(_) => Ok(listed.clone()),
            Written::Refused(Some(before)) => read(before),
            Written::Refused(None) => Err(Error::Store("the page that exists was not answered".into())),
        }
    }

    /// A page as listed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn listed_page(&self, import_id: &str, page: u32) -> Result<Option<ListedPage>, Error> {
        self.get(&self.work, &keys::page_list(import_id, page)).await
    }

    /// Counts a listed page, once; answers the import as it is then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn count_page(&self, import: &Import, page: u32, listed: &ListedPage) -> Result<Import, Error> {
        let mut update = Update::new()
            .add("followers_listed", n(listed.open_ids.len()))
            .set("pages_listed", n(page + 1))
            .set("moved_at", n(self.clock.unix()))
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
        match self.update(&self.work, &key, update).await? {
            Written::Done(item) | Written::Refused(Some(item)) => read(item),
            Written::Refused(None) => Err(Error::Item("the import is gone".into())),
        }
    }

    /// Receipts of a page: `chunk → how many it stored`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn keep_receipt(
        &self,
        import_id: &str,
        page: u32,
        chunk: u32,
        imported: u64,
    ) -> Result<BTreeMap<u32, u64>, Error> {
        let update = Update::new()
            .set(&receipt_name(chunk), n(imported))
            .set("ttl", n(self.clock.unix() + PAGES_KEPT_SECONDS));
        match self.update(&self.work, &keys::page_done(import_id, page), update).await? {
            Written::Done(item) => Ok(receipts(&item)),
            Written::Refused(_) => Err(Error::Store("a receipt was refused".into())),
        }
    }

    /// Receipts of one page.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn page_receipts(&self, import_id: &str, page: u32) -> Result<BTreeMap<u32, u64>, Error> {
        let found = self.get_item(&self.work, &keys::page_done(import_id, page)).await?;
        Ok(found.as_ref().map(receipts).unwrap_or_default())
    }

    /// Receipts of all pages that have some.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn receipts(&self, import_id: &str) -> Result<BTreeMap<u32, BTreeMap<u32, u64>>, Error> {
        let (mut found, mut start) = (BTreeMap::new(), None);
        loop {
            let page = self
                .query(Query {
                    table: &self.work,
                    index: None,
                    consistent: true,
                    condition: "pk = :pk AND begins_with(sk, :done)",
                    names: &[],
                    values: &[(":pk", s(keys::page_done(import_id, 0).pk)), (":done", s(keys::PAGE_DONE))],
                    descending: false,
                    limit: PAGES_PER_QUERY,
                    start,
                })
                .await?;
            for entry in &page.items {
                let number = entry
                    .get("sk")
                    .and_then(|v| v.as_s().ok())
                    .and_then(|sk| sk.strip_prefix(keys::PAGE_DONE));
                if let Some(number) = number.and_then(|v| v.parse().ok()) {
                    found.insert(number, receipts(entry));
                }
            }
            start = page.next;
            if start.is_none() {
                return Ok(found);
            }
        }
    }

    /// Marks a page whose chunks are all done; answers the import as it is then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn finish_page(
        &self,
        app_id: &str,
        import_id: &str,
        page: u32,
        imported: u64,
    ) -> Result<Import, Error> {
        let update = Update::new()
            .set_in("pages_done", &page.to_string(), n(imported))
            .set("moved_at", n(self.clock.unix()))
            .when("attribute_exists(pk)", &[]);
        self.updated_import(app_id, import_id, update).await
    }

    /// Marks a reconciled shard; answers the import as it is then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn finish_shard(&self, app_id: &str, import_id: &str, shard: u32) -> Result<Import, Error> {
        let update = Update::new()
            .add("shards_done", AttributeValue::Ns(vec![shard.to_string()]))
            .set("moved_at", n(self.clock.unix()))
            .when("attribute_exists(pk)", &[]);
        self.updated_import(app_id, import_id, update).await
    }

    async fn updated_import(&self, app_id: &str, import_id: &str, update: Update) -> Result<Import, Error> {
        match self.update(&self.work, &keys::import(app_id, import_id), update).await? {
            Written::Done(item) => read(item),
            Written::Refused(_) => Err(Error::Item("the import is gone".into())),
        }
    }

    /// Pauses a running import until `until`, unix seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pause_import(&self, app_id: &str, id: &str, until: i64, why: &str) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", any(&ImportStatus::Paused)?)
            .set("paused_until", n(until))
            .set("error", s(why))
            .when("#status = :running", &[(":running", any(&ImportStatus::Running)?)]);
        // refused where it paused by this very call, whose answer was lost
        let paused = any(&ImportStatus::Paused)?;
        let ours = |item: &Attributes| {
            item.get("status") == Some(&paused) && item.get("paused_until") == Some(&n(until))
        };
        Ok(self.update(&self.work, &keys::import(app_id, id), update).await?.or_if(ours).done())
    }

    /// Lets a paused import go on; `by` names who did, so that it may finish what it began after a crash. What
    /// [`RESUMED_BY_API`] began, the first job that comes takes over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn resume_import(&self, app_id: &str, id: &str, by: &str) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", any(&ImportStatus::Running)?)
            .set("resumed_by", s(by))
            .set("moved_at", n(self.clock.unix()))
            .remove("paused_until")
            .remove("error")
            .when(
                "#status = :paused OR (#status = :running AND resumed_by IN (:by, :api))",
                &[
                    (":paused", any(&ImportStatus::Paused)?),
                    (":running", any(&ImportStatus::Running)?),
                    (":by", s(by)),
                    (":api", s(RESUMED_BY_API)),
                ],
            );
        Ok(self.update(&self.work, &keys::import(app_id, id), update).await?.done())
    }

    /// Ends an import that has not ended, and frees the account for the next one; answers whether it did.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end_import(
        &self,
        app_id: &str,
        id: &str,
        status: ImportStatus,
        error: Option<&str>,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", any(&status)?)
            .set("finished_at", n(self.clock.unix()))
            .set_some("error", error.map(s))
            .remove("paused_until")
            .when("attribute_exists(pk) AND attribute_not_exists(finished_at)", &[]);
        let free = Delete::builder()
            .table_name(&self.work)
            .set_key(Some(keys::import_running(app_id).attributes()))
            .condition_expression("attribute_not_exists(pk) OR import_id = :id")
            .expression_attribute_values(":id", s(id))
            .build()
            .map_err(|e| Error::Store(e.to_string()))?;
        // together: a crash in between would leave the account locked by an import that nothing ends again
        let end = update.action(&self.work, &keys::import(app_id, id))?;
        let unlist = Delete::builder()
            .table_name(&self.work)
            .set_key(Some(keys::open_import(id).attributes()))
            .build()
            .map_err(|e| Error::Store(e.to_string()))?;
        let [free, unlist] = [free, unlist].map(|delete| TransactWriteItem::builder().delete(delete).build());
        self.transact(vec![end, free, unlist]).await
    }
}

/// A list of texts as one, a line each. Lists of earlier releases are read too.
mod lines {
    use serde::{Deserialize, Deserializer, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        List(Vec<String>),
    }

    pub fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&list.join("\n"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Stored::deserialize(deserializer)? {
            Stored::Text(text) => text.lines().map(str::to_owned).collect(),
            Stored::List(list) => list,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Running {
    import_id: String,
}

const RECEIPT: &str = "chunk_";

fn receipt_name(chunk: u32) -> String {
    format!("{RECEIPT}{chunk}")
}

fn receipts(item: &Attributes) -> BTreeMap<u32, u64> {
    let number = |(name, value): (&String, &AttributeValue)| {
        Some((name.strip_prefix(RECEIPT)?.parse().ok()?, value.as_n().ok()?.parse().ok()?))
    };
    item.iter().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_listed_page_is_kept_as_one_text() {
        let page = |open_ids: &[&str]| ListedPage {
            open_ids: open_ids.iter().map(|id| (*id).to_owned()).collect(),
            next_cursor: None,
            total: 2,
            cut: None,
        };
        for (what, open_ids, stored) in [
            ("nobody", &[][..], json!("")),
            ("one", &["o1"], json!("o1")),
            ("two", &["o1", "o-_2"], json!("o1\no-_2")),
            ("as before", &["o1", "o2"], json!(["o1", "o2"])),
        ] {
            let name = if stored.is_string() { "open_id_lines" } else { "open_ids" };
            let item = json!({name: stored, "total": 2});
            assert_eq!(
                serde_json::from_value::<ListedPage>(item).unwrap().open_ids,
                page(open_ids).open_ids,
                "{what}"
            );
            if stored.is_string() {
                assert_eq!(serde_json::to_value(page(open_ids)).unwrap()["open_id_lines"], stored, "{what}");
            }
        }
    }
}
