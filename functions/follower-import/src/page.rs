//! `PageV1`: lists one page of openids, stores it and fans it out. A page is stored before it is counted,
//! and counted before it is fanned out. Its chunks are queued before the next page, so that a counted page
//! implies queued chunks of those before. Of two jobs for one page, the one that counted it continues.

use std::time::Duration;

use shared::{
    deadline::Deadline,
    error::Error,
    model::{import::Import, listed_page::ListedPage},
    queue::jobs::{ImportJob, ImportRef},
    quota::QuotaApi,
    services::Services,
    tokens,
};

use crate::{
    fan_out,
    page_end::{self, ListPosition},
    progress::{self, running_import},
    remembered_refusals,
    types::{FollowUps, JobDelivery, JobError},
};

/// Fetches of a page whose list ends far short of `total`: such answers are usually transient.
const MAX_SHORT_LIST_FETCHES: u32 = 3;
/// The wait between two such fetches.
const SHORT_LIST_RETRY_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    app: &Services,
    ids: &ImportRef,
    page: u32,
    cursor: &str,
    delivery: JobDelivery<'_>,
) -> Result<FollowUps, JobError> {
    let Some(import) = running_import(app, ids).await? else { return Ok(FollowUps::none()) };
    if import.pages_listed > page + 1 {
        return Ok(FollowUps::jobs(progress::finish_or_reconcile(app, &import).await?)); // came twice
    }
    let listed = match app.store.import_progress().page(&ids.import_id, page).await? {
        Some(listed) => listed,
        None => {
            let listed = fetch(app, &import, page, cursor, delivery.until).await?;
            if let Some(why) = &listed.cut {
                tracing::warn!(app_id = ids.app_id, import_id = ids.import_id, page, "{why}");
                if delivery.receive_count < MAX_SHORT_LIST_FETCHES {
                    return Err(JobError::RetryPage(SHORT_LIST_RETRY_WAIT));
                }
            }
            app.store.import_progress().store_page(&import, page, &listed).await?
        }
    };
    let mut import =
        app.store.import_progress().count_page(&import, page, &listed, delivery.message_id).await?;
    if import.listed_by.as_deref().is_some_and(|by| by != delivery.message_id) {
        return Ok(FollowUps::none());
    }
    let mut first = fan_out::missing_chunks(&import, page, &listed, &Default::default());
    if first.is_empty() {
        import = app.store.import_progress().mark_page_done(&ids.app_id, &ids.import_id, page, 0).await?;
    }
    first.extend(progress::finish_or_reconcile(app, &import).await?); // all chunks may have been done before the list ended
    let then =
        listed.next_cursor.map(|cursor| ImportJob::PageV1 { import: ids.clone(), page: page + 1, cursor });
    Ok(FollowUps { first, then, retry_at: None })
}

async fn fetch(
    app: &Services,
    import: &Import,
    page: u32,
    cursor: &str,
    until: Deadline,
) -> Result<ListedPage, Error> {
    let (tenant, app_id) = (&import.tenant_id, &import.app_id);
    let list = tokens::with_authorizer(app, tenant, app_id, until, |token| async move {
        app.wechat.followers(&token, cursor).await
    });
    let answer = remembered_refusals::call_unless_refused(
        app,
        &import.app_id,
        QuotaApi::UserGet,
        import.requests_since(),
        list,
    )
    .await?;
    let before = match page.checked_sub(1) {
        Some(before) => app.store.import_progress().page(&import.id, before).await?,
        None => None,
    };
    let first_before = before.as_ref().and_then(|b| b.open_ids.first()).map(String::as_str);
    Ok(page_end::classify(
        answer,
        ListPosition { page, cursor, listed: import.followers_listed, previous_page_first: first_before },
    ))
}
