//! The page on which an account's owner says yes or no. In WeChat, a phone scans its code; here, one chooses
//! whose phone it is.

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use serde::Deserialize;
use shared::model::permission::permission_names;

use super::render::{notice, render};
use crate::faults::{FaultKind, take_fault};
use crate::owner_actions::{OwnerConsent, redirect_url};
use crate::simulator::Simulator;
use crate::state::account::{AccountKind, PERMISSIONS};

/// Width and height of the decorative QR code, in squares.
const QR_SIDE: usize = 29;

/// WeChat's own parameter names.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ConsentPageQuery {
    component_appid: String,
    pre_auth_code: String,
    redirect_uri: String,
    auth_type: String,
    biz_appid: String,
    category_id_list: String,
}

struct AccountChoice {
    app_id: String,
    name: String,
    initial: String,
    tone: usize,
    description: &'static str,
    followers: String,
    bound: bool,
}

struct PermissionSet {
    id: u32,
    name: &'static str,
    chinese: &'static str,
    required: bool,
}

#[derive(Template)]
#[template(path = "authorize.html")]
struct ConsentPageTemplate<'a> {
    platform: &'a str,
    pre_auth_code: &'a str,
    redirect_uri: &'a str,
    redirect_host: &'a str,
    accounts: Vec<AccountChoice>,
    sets: Vec<PermissionSet>,
    squares: Vec<(usize, usize)>,
}

/// `GET /cgi-bin/componentloginpage` and its two mobile forms.
pub(super) async fn page(
    State(simulator): State<Simulator>,
    Query(asked): Query<ConsentPageQuery>,
) -> Response {
    let component = simulator.component();
    if asked.component_appid != component.app_id {
        return notice(
            StatusCode::BAD_REQUEST,
            "Unknown platform",
            "component_appid is not this platform’s.",
        );
    }
    if let Err(error) = simulator.check_pre_auth_code(&asked.pre_auth_code) {
        let detail = format!("WeChat says: {}. Start again at the hub.", error.errmsg);
        return notice(StatusCode::BAD_REQUEST, "This link cannot be used", &detail);
    }
    if redirect_url(&asked.redirect_uri, &[]).is_err() {
        let detail = "redirect_uri is missing or is no http(s) URL.";
        return notice(StatusCode::BAD_REQUEST, "Nowhere to return to", detail);
    }
    let url = reqwest::Url::parse(&asked.redirect_uri).ok();
    let only: Vec<u32> = asked.category_id_list.split('|').filter_map(|id| id.parse().ok()).collect();
    let sets = PERMISSIONS.iter().filter(|(id, ..)| only.is_empty() || only.contains(id));
    render(
        StatusCode::OK,
        &ConsentPageTemplate {
            platform: &component.app_id,
            pre_auth_code: &asked.pre_auth_code,
            redirect_uri: &asked.redirect_uri,
            redirect_host: url.as_ref().and_then(|url| url.host_str()).unwrap_or_default(),
            accounts: choices(&simulator, &asked),
            sets: sets
                .map(|&(id, name, required)| PermissionSet {
                    id,
                    name,
                    chinese: permission_names(id).1,
                    required,
                })
                .collect(),
            squares: qr_squares(&asked.pre_auth_code),
        },
    )
}

/// The accounts that WeChat would offer: of the asked kind, and in good standing.
fn choices(simulator: &Simulator, asked: &ConsentPageQuery) -> Vec<AccountChoice> {
    let state = simulator.state();
    let offered = state.accounts_in_order().into_iter().filter(|account| {
        let kind = match asked.auth_type.as_str() {
            "1" => account.kind != AccountKind::MiniProgram,
            "2" => account.kind == AccountKind::MiniProgram,
            _ => true,
        };
        let offers = if asked.biz_appid.is_empty() { kind } else { account.app_id == asked.biz_appid };
        offers && matches!(account.account_status, 1 | 18)
    });
    offered
        .enumerate()
        .map(|(index, account)| AccountChoice {
            initial: account.name.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default(),
            tone: index % 5,
            description: account.description(),
            followers: with_thousands_separators(account.followers.total()),
            bound: account.authorization.is_some(),
            app_id: account.app_id.clone(),
            name: account.name.clone(),
        })
        .collect()
}

/// `POST /_sim/consent`: the page's form.
pub(super) async fn consent(
    State(simulator): State<Simulator>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let get = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    if get("decision").as_deref() != Some("grant") {
        return notice(
            StatusCode::OK,
            "Not authorized",
            "You refused. WeChat tells the platform nothing of it.",
        );
    }
    let ids = fields.iter().filter(|(field, _)| field == "func_ids").filter_map(|(_, id)| id.parse().ok());
    let grant = OwnerConsent {
        app_id: get("app_id").unwrap_or_default(),
        pre_auth_code: Some(get("pre_auth_code").unwrap_or_default()),
        redirect_uri: get("redirect_uri"),
        func_ids: Some(ids.collect()),
        without_event: false,
        without_refresh_token: false,
    };
    let app_id = grant.app_id.clone();
    let granted = simulator.authorize(grant);
    let fault = take_fault(&mut simulator.state().faults, &["page/return"], Some(&app_id));
    if granted.is_ok() && fault == Some(FaultKind::DropReturn) {
        return notice(StatusCode::OK, "Authorized", "The browser was closed before it came back.");
    }
    match granted {
        Ok(granted) => Redirect::to(granted.redirect_url.as_deref().unwrap_or("/")).into_response(),
        Err(error) => {
            notice(StatusCode::BAD_REQUEST, "This did not work", &format!("WeChat says: {}.", error.errmsg))
        }
    }
}

/// `25000` as `25,000`.
fn with_thousands_separators(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Something that looks like a QR code: three finders, and squares that depend on `text`.
fn qr_squares(text: &str) -> Vec<(usize, usize)> {
    let mut hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut out = Vec::new();
    for y in 0..QR_SIDE {
        for x in 0..QR_SIDE {
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let dark = match qr_finder(x, y) {
                Some(dark) => dark,
                None => hash >> 63 == 1,
            };
            if dark {
                out.push((x, y));
            }
        }
    }
    out
}

/// Whether a square of one of the three corner marks is dark; `None` outside of them.
fn qr_finder(x: usize, y: usize) -> Option<bool> {
    let far = QR_SIDE - 8;
    let (x, y) = match (x < 8, y < 8, x >= far, y >= far) {
        (true, true, ..) => (x, y),
        (_, true, true, _) => (QR_SIDE - 1 - x, y),
        (true, _, _, true) => (x, QR_SIDE - 1 - y),
        _ => return None,
    };
    let ring = x.abs_diff(3).max(y.abs_diff(3));
    Some(ring != 2 && ring < 4)
}
