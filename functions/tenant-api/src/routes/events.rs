//! Events of customers and accounts.

use std::sync::Arc;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    model::{
        event::{StoredEvent, TimelineOwner},
        event_type::EventType,
        fan::FanId,
    },
    problem::Problem,
    services::Services,
};
use utoipa::{IntoParams, ToSchema};

use super::find_account;
use crate::{
    caller::Caller,
    extract::{Page, Path, Query, checked_limit, decode_key_cursor, timestamp},
};

/// Something that a customer said, did or was sent, or that happened to an account.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "evt_01jd3v6m5s8qk2x9w4r7t0y1za", "type": "message_received", "at": "2026-01-15T08:29:51Z",
    "app_id": "wx5a1b2c3d4e5f6071", "open_id": "oLVPpjqs9BhvzwPj5A-vTYAX3GLc", "visitor_id": null,
    "detail": {"MsgType": "text", "Content": "Is there a table?", "MsgId": "23456789012345678"}
}))]
pub struct Event {
    /// `evt_…`
    id: String,
    /// `subscribed`, `unsubscribed`, `message_received`, `message_sent`, `menu_clicked`, `menu_viewed`,
    /// `qr_scanned`, `location_reported`, `template_delivered`, …, or WeChat's own event name in snake_case.
    r#type: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// The account.
    app_id: Option<String>,
    /// The follower; null where it happened to the account itself.
    open_id: Option<String>,
    /// The web site's visitor.
    visitor_id: Option<String>,
    /// The members of WeChat's push under WeChat's names; of what was sent, its `channel` and what it was. Of a push
    /// that is longer than any of WeChat's, texts are cut and end in `… [cut]`.
    #[schema(value_type = Object)]
    detail: Map<String, Value>,
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventFilters {
    /// Only events of this type: one of the description's words, `x_…`, or WeChat's own name in snake_case.
    r#type: Option<String>,
    /// How many at most: 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

/// List a customer's events
///
/// The timeline of all their follows, newest first. An event is kept for a year, unless the operator of the hub
/// chose otherwise.
#[utoipa::path(get, path = "/v1/customers/{id}/timeline", tag = "Customers",
    params(("id" = String, Path, description = "The customer's id"), EventFilters),
    responses((status = 200, description = "A page of events", body = Page<Event>)))]
pub async fn list_customer_events(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(filters): Query<EventFilters>,
) -> Result<Json<Page<Event>>, Problem> {
    let person = app.store.customers().get(&caller.tenant, &id).await?;
    let person = person.ok_or_else(|| Problem::not_found("customer"))?;
    let fan = |app_id, open_id| TimelineOwner::Fan(FanId { tenant: &caller.tenant, app_id, open_id });
    let fans: Vec<_> = person.fans.iter().map(|f| fan(&f.app_id, &f.open_id)).collect();
    list_events(&app, &fans, &filters).await
}

/// List an account's own events
///
/// What happened to the account itself, newest first: results of broadcasts and publications, reviews of coupons and
/// stores, verification. They are nobody's, and on no customer's timeline.
#[utoipa::path(get, path = "/v1/accounts/{app_id}/events", tag = "Accounts",
    params(("app_id" = String, Path, description = "WeChat's app id"), EventFilters),
    responses((status = 200, description = "A page of events", body = Page<Event>)))]
pub async fn list_account_events(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(app_id): Path<String>,
    Query(filters): Query<EventFilters>,
) -> Result<Json<Page<Event>>, Problem> {
    find_account(&app, &caller.tenant, &app_id).await?;
    list_events(&app, &[TimelineOwner::Account { tenant: &caller.tenant, app_id: &app_id }], &filters).await
}

async fn list_events(
    app: &Services,
    owners: &[TimelineOwner<'_>],
    filters: &EventFilters,
) -> Result<Json<Page<Event>>, Problem> {
    let limit = checked_limit(filters.limit)? as usize;
    let (kind, known) = (filters.r#type.as_deref(), filters.r#type.as_deref().map(EventType::of));
    if known == Some(EventType::Impossible) {
        return Err(Problem::invalid(
            "type: must be a type of event: one that the description lists, `x_…`, or WeChat's own name in snake_case",
        ));
    }
    let before = decode_key_cursor(filters.cursor.as_deref())?;
    let (events, next) = app.store.timeline().list(owners, kind, limit, before.as_deref()).await?;
    // WeChat may add types at any time: an unknown type is refused only where no such event is stored
    let nothing = events.is_empty() && next.is_none() && before.is_none();
    if let (true, Some(EventType::Possible), Some(kind)) = (nothing, known, kind) {
        return Err(Problem::invalid(format!(
            "type: `{kind}` is no type of event that this hub knows, and there is none here"
        )));
    }
    Ok(Page::by_key(events, next, to_api))
}

fn to_api(event: StoredEvent) -> Event {
    Event {
        id: event.id(),
        detail: event.detail(),
        r#type: event.kind,
        at: timestamp(event.at),
        app_id: Some(event.app_id),
        open_id: Some(event.open_id).filter(|open_id| !open_id.is_empty()),
        visitor_id: None,
    }
}
