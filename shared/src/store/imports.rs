//! Imports: one at a time for each account, and listed until they end.

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{
    dynamo::{
        Attributes, actions::put_action, conditional_write::ConditionalWrite, database::Database, from_item,
        n, query::Query, read_valid, s, to_attr, to_item, update::Update,
    },
    keys,
};
use crate::{
    error::{Error, StoreError},
    model::import::{Import, ImportStatus},
};

/// Imports of an account read in one query, at least.
const IMPORTS_PER_QUERY: u32 = 100;
/// How many queries a list of imports makes: imports of the account's former tenants are read too.
const MAX_IMPORT_QUERIES: u32 = 100;

/// How often a start checks whether the import in its way has ended.
const MAX_START_ATTEMPTS: u32 = 3;

/// Who resumes an import.
#[derive(Debug, Clone, Copy)]
pub enum ResumedBy<'a> {
    /// Its tenant, by the API.
    Api,
    /// A job, by its message's id.
    Job(&'a str),
}

impl ResumedBy<'_> {
    fn stored(self) -> String {
        match self {
            Self::Api => "api".into(),
            Self::Job(message_id) => format!("resume:{message_id}"),
        }
    }
}

/// The result of starting an import.
pub enum ImportStart {
    /// It is new.
    New,
    /// This one is still running or paused, or has the same id.
    Existing(Box<Import>),
}

/// The imports of accounts.
#[derive(Clone, Copy)]
pub struct Imports<'a> {
    pub(super) db: &'a Database,
}

impl Imports<'_> {
    /// Starts an import unless one is running on the account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn start(self, import: &Import) -> Result<ImportStart, Error> {
        let lock =
            to_item(&keys::import_lock(&import.app_id), &ImportLock { import_id: import.id.clone() }, None)?;
        let mut stored = to_item(&keys::import(&import.app_id, &import.id), import, None)?;
        stored.insert("pages_done".into(), AttributeValue::M(Attributes::new()));
        stored.remove("shards_done"); // a set, which cannot be empty
        let free = Some(("attribute_not_exists(pk)", Attributes::new()));
        let listed = to_item(
            &keys::unfinished_import(&import.id),
            &UnfinishedImport { app_id: import.app_id.clone() },
            None,
        )?;
        let actions = vec![
            put_action(&self.db.work, lock, free.clone())?,
            put_action(&self.db.work, stored, free)?,
            put_action(&self.db.work, listed, None)?,
        ];
        for _ in 0..MAX_START_ATTEMPTS {
            if self.db.transact(actions.clone()).await? {
                return Ok(ImportStart::New);
            }
            if let Some(same) = self.get(&import.app_id, &import.id).await? {
                return Ok(ImportStart::Existing(Box::new(same)));
            }
            // none where the other import ended meanwhile: then the lock is free
            if let Some(running) = self.running(&import.app_id).await? {
                return Ok(ImportStart::Existing(Box::new(running)));
            }
        }
        Err(StoreError::Contended("imports of this account end and start all the time").into())
    }

    /// The running or paused import of an account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn running(self, app_id: &str) -> Result<Option<Import>, Error> {
        match self.db.get::<ImportLock>(&self.db.work, &keys::import_lock(app_id)).await? {
            Some(running) => self.get(app_id, &running.import_id).await,
            None => Ok(None),
        }
    }

    /// An import of an account.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, app_id: &str, id: &str) -> Result<Option<Import>, Error> {
        if id == keys::import_lock("").sk {
            return Ok(None);
        }
        self.db.get(&self.db.work, &keys::import(app_id, id)).await
    }

    /// A tenant's imports of an account, newest first, before the id `before`: `imp_…`. Those of a tenant
    /// that had the account before are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        self,
        tenant: &str,
        app_id: &str,
        limit: u32,
        before: Option<&str>,
    ) -> Result<Vec<Import>, Error> {
        let key = keys::import(app_id, before.unwrap_or("imp_~"));
        let page_limit = i32::try_from(limit.saturating_add(1).max(IMPORTS_PER_QUERY)).unwrap_or(i32::MAX);
        let newest_first =
            Query::on(&self.db.work, &key.pk, page_limit).between("imp_", &key.sk).descending();
        let (mut found, mut pages) = (Vec::new(), self.db.pages(newest_first));
        for _ in 0..MAX_IMPORT_QUERIES {
            for import in read_valid::<Import>(pages.next().await?.unwrap_or_default()) {
                if import.tenant_id == tenant && Some(import.id.as_str()) != before {
                    found.push(import);
                }
            }
            if !pages.has_more() || found.len() >= limit as usize {
                found.truncate(limit as usize);
                return Ok(found);
            }
        }
        Err(StoreError::Rejected("more imports of other tenants than a list passes over".into()).into())
    }

    /// Records that the message `by` queues the next jobs of a running import again; `false` where another
    /// message did so since the import was read.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_requeue(self, import: &Import, by: &str) -> Result<bool, Error> {
        let update = Update::new()
            .set("taken_up_at", n(self.db.clock.unix()))
            .set("taken_up_by", s(by))
            .when(
                "#status = :running AND (attribute_not_exists(taken_up_at) OR taken_up_at <= :seen OR taken_up_by = :by)",
                &[
                    (":running", to_attr(&ImportStatus::Running)?),
                    (":seen", n(import.taken_up_at.unwrap_or(0))),
                    (":by", s(by)),
                ],
            );
        Ok(self.db.update(&self.db.work, &keys::import(&import.app_id, &import.id), update).await?.is_done())
    }

    /// Pauses a running import until `until`, unix seconds.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pause(self, app_id: &str, id: &str, until: i64, why: &str) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", to_attr(&ImportStatus::Paused)?)
            .set("paused_until", n(until))
            .set("error", s(why))
            .when("#status = :running", &[(":running", to_attr(&ImportStatus::Running)?)]);
        // the condition fails where this very call paused it, and its answer was lost
        let paused = to_attr(&ImportStatus::Paused)?;
        let ours = |item: &Attributes| {
            item.get("status") == Some(&paused) && item.get("paused_until") == Some(&n(until))
        };
        Ok(self.db.update(&self.db.work, &keys::import(app_id, id), update).await?.or_done_if(ours).is_done())
    }

    /// Resumes a paused import. The same `by` gets `true` again, to finish after a crash what it began, until
    /// another resumes the import. What [`ResumedBy::Api`] began, the first job that comes takes over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn resume(self, app_id: &str, id: &str, by: ResumedBy<'_>) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", to_attr(&ImportStatus::Running)?)
            .set("resumed_by", s(by.stored()))
            .set("resumed_at", n(self.db.clock.unix()))
            .set("moved_at", n(self.db.clock.unix()))
            .remove("paused_until")
            .remove("error")
            .when(
                "#status = :paused OR (#status = :running AND resumed_by IN (:by, :api))",
                &[
                    (":paused", to_attr(&ImportStatus::Paused)?),
                    (":running", to_attr(&ImportStatus::Running)?),
                    (":by", s(by.stored())),
                    (":api", s(ResumedBy::Api.stored())),
                ],
            );
        Ok(self.db.update(&self.db.work, &keys::import(app_id, id), update).await?.is_done())
    }

    /// Ends an import that has not ended, and unlocks the account for the next one; returns whether it did.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end(
        self,
        app_id: &str,
        id: &str,
        status: ImportStatus,
        error: Option<&str>,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .set("status", to_attr(&status)?)
            .set("finished_at", n(self.db.clock.unix()))
            .set_some("error", error.map(s))
            .remove("paused_until")
            .when("attribute_exists(pk) AND attribute_not_exists(finished_at)", &[]);
        let free = Delete::builder()
            .table_name(&self.db.work)
            .set_key(Some(keys::import_lock(app_id).attributes()))
            .condition_expression("attribute_not_exists(pk) OR import_id = :id")
            .expression_attribute_values(":id", s(id))
            .build()
            .map_err(StoreError::from)?;
        // in one transaction: a crash in between would leave the account locked by an import that has ended
        let end = update.into_action(&self.db.work, &keys::import(app_id, id))?;
        let unlist = Delete::builder()
            .table_name(&self.db.work)
            .set_key(Some(keys::unfinished_import(id).attributes()))
            .build()
            .map_err(StoreError::from)?;
        let [free, unlist] = [free, unlist].map(|delete| TransactWriteItem::builder().delete(delete).build());
        self.db.transact(vec![end, free, unlist]).await
    }
}

/// Updates an import that must be there, and returns it as it is then.
pub(super) async fn update_import(
    db: &Database,
    app_id: &str,
    import_id: &str,
    update: Update,
) -> Result<Import, Error> {
    match db.update(&db.work, &keys::import(app_id, import_id), update).await? {
        ConditionalWrite::Done(item) => from_item(item),
        ConditionalWrite::ConditionFailed(_) => Err(StoreError::Missing("the import is gone").into()),
    }
}

/// An entry of the list of imports that have not ended.
#[derive(Serialize)]
struct UnfinishedImport {
    app_id: String,
}

#[derive(Serialize, Deserialize)]
struct ImportLock {
    import_id: String,
}
