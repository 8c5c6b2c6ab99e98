//! `PageV1`: lists one page of openids, stores it and fans it out. A page is stored before it is counted,
//! and counted before it is fanned out. Its chunks are queued before the next page, so that a counted page
//! implies queued chunks of those before. Of two jobs for one page, the one that counted it continues.

use std::time::Duration;

use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    queue::jobs::ImportJob,
    quota::Api,
    store::{import_pages::ListedPage, imports::Import},
    tokens,
};

use crate::{
    fan_out, finish,
    job::{Delivery, Ids, Next, Stop, running},
    listing::{self, Place},
    quota,
};

/// Fetches of a page whose list ends far short of `total`: such answers are usually transient.
const DOUBT_TRIES: u32 = 3;
/// The wait between two such fetches.
const DOUBT_WAIT: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    app: &App,
    ids: Ids<'_>,
    page: u32,
    cursor: &str,
    delivery: Delivery<'_>,
) -> Result<Next, Stop> {
    let Some(import) = running(app, ids).await? else { return Ok(Next::none()) };
    if import.pages_listed > page + 1 {
        return Ok(Next::jobs(finish::import(app, &import).await?)); // came twice
    }
    let listed = match app.store.listed_page(ids.import, page).await? {
        Some(listed) => listed,
        None => {
            let listed = fetch(app, &import, page, cursor, delivery.until).await?;
            if let Some(why) = &listed.cut {
                tracing::warn!(app_id = ids.app, import_id = ids.import, page, "{why}");
                if delivery.receive_count < DOUBT_TRIES {
                    return Err(Stop::Doubt(DOUBT_WAIT));
                }
            }
            app.store.keep_page(&import, page, &listed).await?
        }
    };
    let mut import = app.store.count_page(&import, page, &listed, delivery.message_id).await?;
    if import.listed_by.as_deref().is_some_and(|by| by != delivery.message_id) {
        return Ok(Next::none());
    }
    let mut first = fan_out::chunks(ids, &import, page, &listed, &Default::default());
    if first.is_empty() {
        import = app.store.finish_page(ids.app, ids.import, page, 0).await?;
    }
    first.extend(finish::import(app, &import).await?); // all chunks may have been done before the list ended
    let then = listed.next_cursor.map(|cursor| page_job(ids, page + 1, cursor));
    Ok(Next { first, then, again_at: None })
}

pub(crate) fn page_job(ids: Ids<'_>, page: u32, cursor: String) -> ImportJob {
    ImportJob::PageV1 {
        import_id: ids.import.into(),
        app_id: ids.app.into(),
        tenant_id: ids.tenant.into(),
        page,
        cursor,
    }
}

async fn fetch(
    app: &App,
    import: &Import,
    page: u32,
    cursor: &str,
    until: Deadline,
) -> Result<ListedPage, Error> {
    let (tenant, app_id) = (&import.tenant_id, &import.app_id);
    let list = tokens::with_authorizer(app, tenant, app_id, until, |token| async move {
        app.wechat.followers(&token, cursor).await
    });
    let answer = quota::ask(app, &import.app_id, Api::UserGet, import.asks_since(), list).await?;
    let before = match page.checked_sub(1) {
        Some(before) => app.store.listed_page(&import.id, before).await?,
        None => None,
    };
    let first_before = before.as_ref().and_then(|b| b.open_ids.first()).map(String::as_str);
    Ok(listing::judge(answer, Place { page, cursor, listed: import.followers_listed, first_before }))
}
