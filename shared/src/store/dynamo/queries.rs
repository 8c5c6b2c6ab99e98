//! Queries as requests, and their pages.

use aws_sdk_dynamodb::types::Select;

use super::{
    Attributes,
    database::Database,
    query::{Query, QueryPage},
};
use crate::error::{Error, StoreError};

impl Database {
    /// One page of a query.
    pub(crate) async fn query(&self, query: Query<'_>) -> Result<QueryPage, Error> {
        let (condition, values) = query.condition();
        let is_local = query.index.is_some_and(|index| index.is_local);
        let mut request = self
            .client
            .query()
            .table_name(query.table)
            .set_index_name(query.index.map(|index| index.name.to_owned()))
            .consistent_read(query.index.is_none() || is_local)
            // our local index holds keys alone: "If you query a local secondary index, then for each matching item in
            // the index, DynamoDB fetches the entire item from the parent table" (Query, Select: ALL_ATTRIBUTES)
            .set_select(is_local.then_some(Select::AllAttributes))
            .key_condition_expression(condition)
            .scan_index_forward(!query.descending)
            .limit(query.limit)
            .set_exclusive_start_key(query.start);
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        let answer = self.retry_transient(|| request.clone().send()).await;
        let answer = answer.map_err(StoreError::from)?;
        Ok(QueryPage { items: answer.items.unwrap_or_default(), next: answer.last_evaluated_key })
    }

    /// The pages of a query, read one after the other. Whoever reads them has to bound their number.
    pub(crate) fn pages<'a>(&'a self, query: Query<'a>) -> Pages<'a> {
        Pages { db: self, next: Some(query) }
    }

    /// All items of a query whose partition has a bound of its own.
    pub(crate) async fn query_all(&self, query: Query<'_>) -> Result<Vec<Attributes>, Error> {
        let (mut pages, mut found) = (self.pages(query), Vec::new());
        while let Some(items) = pages.next().await? {
            found.extend(items);
        }
        Ok(found)
    }
}

/// The pages of a query that are still to be read.
pub(crate) struct Pages<'a> {
    db: &'a Database,
    /// None when all are read.
    next: Option<Query<'a>>,
}

impl Pages<'_> {
    /// Whether there is a page to read, which may be empty.
    pub(crate) fn has_more(&self) -> bool {
        self.next.is_some()
    }

    /// The items of the next page, which may be none; [`None`] behind the last page.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Attributes>>, Error> {
        let Some(query) = self.next.take() else { return Ok(None) };
        let page = self.db.query(query.clone()).await?;
        self.next = page.next.map(|key| query.start_behind(Some(key)));
        Ok(Some(page.items))
    }
}
