//! The list of imports that have not ended, and which of them are stuck.
//!
//! An import is a chain of jobs; where one is lost, no error shows it. The list is written in the
//! transactions that start and end an import, so that the table need not be searched, and every unfinished
//! import is found.

use super::{
    dynamo::{from_item, query::Query},
    imports::Imports,
    keys,
};
use crate::{error::Error, ids, model::import::Import};

/// Imports read by one search: a limit for its cost, 100 read units and more for the largest. Where there are
/// more, the searches take turns, each with a share of them.
const MAX_IMPORTS_READ: usize = 100;
/// List entries read in one query: 80 bytes each.
const LIST_ENTRIES_PER_QUERY: i32 = 5_000;
/// The list has at most one entry for each account, and the hub is made for 100,000 accounts.
const MAX_LIST_QUERIES: usize = 20;
/// How long a share has its turn, seconds.
const SHARE_TURN_SECONDS: i64 = 600;

/// The unfinished imports whose turn it is.
#[derive(Debug, Default)]
pub struct UnfinishedImports {
    /// Those that could be read.
    pub imports: Vec<Import>,
    /// How many more cannot be read.
    pub unreadable: usize,
}

impl Imports<'_> {
    /// Unfinished imports whose turn it is at `now`, unix seconds: all up to [`MAX_IMPORTS_READ`], a share of
    /// more. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unfinished(self, now: i64) -> Result<UnfinishedImports, Error> {
        let listed = self.list_unfinished().await?;
        let shares = u32::try_from(listed.len().div_ceil(MAX_IMPORTS_READ)).unwrap_or(1).max(1);
        let turn =
            u32::try_from(now.div_euclid(SHARE_TURN_SECONDS).rem_euclid(i64::from(shares))).unwrap_or(0);
        let keys: Vec<_> = listed
            .iter()
            .filter(|(_, id)| ids::shard(id, shares) == turn)
            .map(|(app_id, id)| keys::import(app_id, id))
            .collect();
        let mut open = UnfinishedImports::default();
        for found in self.db.get_many(&self.db.work, &keys).await? {
            match from_item(found) {
                Ok(import) => open.imports.push(import),
                Err(error) => {
                    tracing::error!(%error, "an import that has not ended cannot be read: {error}");
                    open.unreadable += 1;
                }
            }
        }
        Ok(open)
    }

    /// App id and import id of the list's entries.
    async fn list_unfinished(self) -> Result<Vec<(String, String)>, Error> {
        let list = Query::on(&self.db.work, keys::unfinished_import("").pk, LIST_ENTRIES_PER_QUERY);
        let (mut listed, mut pages) = (Vec::new(), self.db.pages(list));
        for _ in 0..MAX_LIST_QUERIES {
            let Some(entries) = pages.next().await? else { break };
            listed.extend(entries.iter().filter_map(|entry| {
                let word = |name: &str| entry.get(name).and_then(|v| v.as_s().ok()).cloned();
                Some((word("app_id")?, word("sk")?))
            }));
        }
        Ok(listed)
    }
}
