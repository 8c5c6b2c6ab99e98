//! Customers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shared::{
    model::{
        customer::CustomerRecord,
        fan::{self, FanId, unionid_customer_id},
    },
    problem::Problem,
    services::Services,
    store::customers::CustomerCursor,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    caller::Caller,
    extract::{Page, Path, Query, checked_filter, checked_limit, decode_cursor, encode_cursor, timestamp},
};

/// A person: all follows and identities that are known to be the same human being.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "cus_01jd3v6m5s8qk2x9w4r7t0y1za", "union_id": "oWgGz1Exw8fmiqP9qG2zq2hXy2nc",
    "fans": [{
        "app_id": "wx5a1b2c3d4e5f6071", "open_id": "oLVPpjqs9BhvzwPj5A-vTYAX3GLc", "subscribed": true,
        "subscribed_at": "2026-01-10T04:12:00Z", "unsubscribed_at": null,
        "subscribe_scene": "ADD_SCENE_QR_CODE", "qr_scene": null, "qr_scene_str": "table-7",
        "nickname": null, "avatar_url": null, "gender": null, "country": null, "province": null,
        "city": null, "language": "zh_CN", "remark": "", "tag_ids": [2, 100]
    }],
    "visitor_ids": [], "external_ids": {}, "attributes": {},
    "created_at": "2026-01-10T04:12:00Z", "last_interaction_at": "2026-01-15T08:29:51Z"
}))]
pub struct Customer {
    /// `cus_…`
    id: String,
    /// The same for all accounts of one WeChat open-platform account.
    union_id: Option<String>,
    /// As follower of each account.
    fans: Vec<Fan>,
    /// As visitor of web sites.
    visitor_ids: Vec<String>,
    /// Ids in other systems, by the system's name.
    external_ids: BTreeMap<String, String>,
    /// Whatever the tenant keeps of them.
    #[schema(value_type = Object)]
    attributes: Map<String, Value>,
    /// When the hub first knew of them.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When they last did something.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_interaction_at: Option<Timestamp>,
}

/// A follower of one account. What WeChat does not tell is null; names, pictures and places are among it since
/// 2021.
#[derive(Serialize, ToSchema)]
pub struct Fan {
    /// The account.
    app_id: String,
    /// WeChat's id of the follower, for this account alone.
    open_id: String,
    /// Whether they follow now.
    subscribed: bool,
    /// When they followed (last).
    #[schema(value_type = Option<String>, format = DateTime)]
    subscribed_at: Option<Timestamp>,
    /// When they left (last).
    #[schema(value_type = Option<String>, format = DateTime)]
    unsubscribed_at: Option<Timestamp>,
    /// WeChat's word for how they came, such as `ADD_SCENE_QR_CODE`.
    subscribe_scene: Option<String>,
    /// Numeric scene of the QR code they came by.
    qr_scene: Option<i64>,
    /// String scene of the QR code they came by.
    qr_scene_str: Option<String>,
    /// Name.
    nickname: Option<String>,
    /// Picture.
    avatar_url: Option<String>,
    /// WeChat's number: 1 male, 2 female.
    gender: Option<i64>,
    /// Country.
    country: Option<String>,
    /// Province.
    province: Option<String>,
    /// City.
    city: Option<String>,
    /// Such as `zh_CN`.
    language: Option<String>,
    /// The account's note.
    remark: Option<String>,
    /// WeChat's tags.
    tag_ids: Vec<i64>,
}

/// Which customers.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CustomerFilters {
    /// Only followers of this account, present or past. One that is not yours, and of which no customer is found: 404.
    #[param(min_length = 1, max_length = 200)]
    app_id: Option<String>,
    /// Only who has this openid; with `app_id` it is looked up directly.
    #[param(min_length = 1, max_length = 200)]
    open_id: Option<String>,
    /// Only who has this union id.
    #[param(min_length = 1, max_length = 200)]
    union_id: Option<String>,
    /// Only who has this id in another system, as `name:value`.
    #[param(pattern = "^[^:]+:.+$")]
    external_id: Option<String>,
    /// Only who follows (`true`) or left (`false`).
    subscribed: Option<bool>,
    /// Only who has this tag of WeChat's.
    #[param(minimum = 0)]
    tag_id: Option<i64>,
    /// How many at most: 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

impl CustomerFilters {
    /// Whether one and the same fan matches all filters.
    fn matches(&self, fan: &fan::Fan) -> bool {
        let same = |wanted: &Option<String>, has: Option<&str>| wanted.is_none() || wanted.as_deref() == has;
        same(&self.app_id, Some(&fan.app_id))
            && same(&self.open_id, Some(&fan.open_id))
            && same(&self.union_id, fan.union_id.as_deref())
            && self.subscribed.is_none_or(|wanted| wanted == fan.subscribed)
            && self.tag_id.is_none_or(|wanted| fan.tag_ids.contains(&wanted))
    }
}

/// List customers
///
/// In no order that means something. A page may be short although there is more: go on while `next_cursor` is
/// not null.
#[utoipa::path(get, path = "/v1/customers", tag = "Customers", params(CustomerFilters),
    responses(
        (status = 200, description = "A page of customers", body = Page<Customer>),
        (status = 404, description = "`not_found`: `app_id` is no account of yours", body = Problem,
            content_type = "application/problem+json")))]
pub async fn list_customers(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Query(filters): Query<CustomerFilters>,
) -> Result<Json<Page<Customer>>, Problem> {
    let limit = checked_limit(filters.limit)?;
    let from = decode_cursor::<CustomerCursor>(filters.cursor.as_deref())?;
    if from.as_ref().is_some_and(|from| from.after.is_empty()) {
        return Err(Problem::invalid("cursor: must be a `next_cursor` of the same list"));
    }
    checked_filter("app_id", filters.app_id.as_deref())?;
    checked_filter("open_id", filters.open_id.as_deref())?;
    checked_filter("union_id", filters.union_id.as_deref())?;
    if filters.tag_id.is_some_and(|tag| tag < 0) {
        return Err(Problem::invalid("tag_id: must be one of WeChat's tags, which count from 0"));
    }
    let (found, next) = if let Some(external) = &filters.external_id {
        if external.split_once(':').is_none_or(|(name, value)| name.is_empty() || value.is_empty()) {
            return Err(Problem::invalid("external_id: must be `name:value`"));
        }
        (Vec::new(), None) // external ids cannot be set yet
    } else if let (Some(app_id), Some(open_id)) = (&filters.app_id, &filters.open_id) {
        let fan = FanId { tenant: &caller.tenant, app_id, open_id };
        (customer_of_fan(&app, fan).await?.into_iter().collect(), None)
    } else if let Some(union_id) = &filters.union_id {
        let id = unionid_customer_id(&caller.tenant, union_id);
        (app.store.customers().get(&caller.tenant, &id).await?.into_iter().collect(), None)
    } else {
        let fits = |fan: &fan::Fan| filters.matches(fan);
        app.store.customers().list(&caller.tenant, limit as usize, from, fits).await?
    };
    let fitting: Vec<Customer> = found
        .into_iter()
        .filter(|person: &CustomerRecord| person.fans.iter().any(|f| filters.matches(f)))
        .map(to_api)
        .collect();
    // an empty page with a cursor may have some of a deleted account's followers behind it
    let is_all = filters.cursor.is_none() && next.is_none();
    if let (Some(app_id), true, true) = (&filters.app_id, fitting.is_empty(), is_all) {
        require_own_account(&app, &caller.tenant, app_id).await?;
    }
    let next_cursor = next.map(|next| encode_cursor(&next));
    Ok(Json(Page { data: fitting, next_cursor }))
}

/// 404 for an empty result if the tenant does not have the account. One that it deleted is answered like one that
/// it never had: otherwise the answer would change when another tenant binds it.
async fn require_own_account(app: &Services, tenant: &str, app_id: &str) -> Result<(), Problem> {
    app.store.accounts().get(tenant, app_id).await?.map(drop).ok_or_else(|| Problem::not_found("account"))
}

async fn customer_of_fan(app: &Services, id: FanId<'_>) -> Result<Option<CustomerRecord>, Problem> {
    let Some(fan) = app.store.fans().get(id).await? else { return Ok(None) };
    let person = app.store.customers().get(id.tenant, &fan.customer_id).await?;
    // the index is eventually consistent and may not have the fan yet
    Ok(Some(person.unwrap_or_else(|| CustomerRecord { id: fan.customer_id.clone(), fans: vec![fan] })))
}

/// Get a customer
///
/// The id of a customer that became part of another answers that other one.
#[utoipa::path(get, path = "/v1/customers/{id}", tag = "Customers",
    params(("id" = String, Path, description = "The customer's id")),
    responses((status = 200, description = "The customer", body = Customer)))]
pub async fn get_customer(
    State(app): State<Arc<Services>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Customer>, Problem> {
    let found = app.store.customers().get(&caller.tenant, &id).await?;
    found.map(|person| Json(to_api(person))).ok_or_else(|| Problem::not_found("customer"))
}

fn to_api(person: CustomerRecord) -> Customer {
    let fans = &person.fans;
    Customer {
        union_id: fans.iter().find_map(|fan| fan.union_id.clone()),
        created_at: timestamp(fans.iter().map(|fan| fan.created_at).min().unwrap_or_default()),
        last_interaction_at: fans.iter().filter_map(fan::Fan::last_interaction).max().map(timestamp),
        id: person.id,
        fans: person.fans.into_iter().map(fan_to_api).collect(),
        visitor_ids: Vec::new(),
        external_ids: BTreeMap::new(),
        attributes: Map::new(),
    }
}

fn fan_to_api(fan: fan::Fan) -> Fan {
    Fan {
        app_id: fan.app_id,
        open_id: fan.open_id,
        subscribed: fan.subscribed,
        subscribed_at: fan.subscribed_at.map(timestamp),
        unsubscribed_at: fan.unsubscribed_at.map(timestamp),
        subscribe_scene: fan.subscribe_scene,
        qr_scene: fan.qr_scene,
        qr_scene_str: fan.qr_scene_str,
        nickname: fan.nickname,
        avatar_url: fan.avatar_url,
        gender: fan.gender,
        country: fan.country,
        province: fan.province,
        city: fan.city,
        language: fan.language,
        remark: fan.remark,
        tag_ids: fan.tag_ids,
    }
}
