//! The two pages of a binding: before WeChat's authorization page, and after it.

use std::{sync::Arc, time::Duration};

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use shared::{
    app::App,
    error::Error,
    html,
    model::account::{PERMISSIONS, REQUIRED},
    secret::Secret,
    store::bindings::{Binding, BindingStatus},
    tokens,
    wechat::authorize_url::AuthorizeUrl,
};

use super::complete::{Outcome, complete};

/// How the pages look.
const STYLE: &str = include_str!("../templates/page.css");
/// A pre_auth_code that dies sooner than this is not handed out, seconds: the administrator has to find a phone.
const PRE_AUTH_LEFT_SECONDS: i64 = 120;
/// How long a return whose code was used waits for the event's job to finish, in steps of half a second.
const WAIT_STEPS: u32 = 16;
const WAIT_STEP: Duration = Duration::from_millis(500);

#[derive(Template)]
#[template(path = "bind.html")]
struct BindPage<'a> {
    style: &'static str,
    permissions: Vec<&'static str>,
    pc_url: &'a str,
    mobile_url: &'a str,
    expires_at: &'a str,
}

#[derive(Template)]
#[template(path = "result.html")]
struct ResultPage<'a> {
    style: &'static str,
    title: &'a str,
    text: &'a str,
    good: bool,
    code: Option<&'a str>,
    retry_url: Option<&'a str>,
    return_url: Option<&'a str>,
}

impl ResultPage<'_> {
    fn respond(&self, status: StatusCode) -> Response {
        answer(status, self.render())
    }
}

fn answer(status: StatusCode, page: Result<String, askama::Error>) -> Response {
    match page {
        Ok(page) => html::page(status, STYLE, page),
        Err(error) => {
            tracing::error!(%error, "a page could not be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `GET /bind/{binding_id}`.
pub(crate) async fn bind(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let binding = match app.store.binding_by_link(&id).await {
        Ok(Some(binding)) => binding,
        Ok(None) => return unknown(),
        Err(error) => return unavailable(&error, None),
    };
    if let Some(ended) = ended(&app, &binding).await {
        return ended;
    }
    let urls = match authorize_urls(&app, &binding).await {
        Ok(urls) => urls,
        Err(Error::NoTicket) => return no_ticket(),
        Err(error) => {
            return unavailable(&error, Some(&format!("{}/bind/{}", app.config.public_url, binding.id)));
        }
    };
    let page = BindPage {
        style: STYLE,
        permissions: PERMISSIONS.iter().take(REQUIRED).map(|(_, name)| *name).collect(),
        pc_url: &attribute(&urls.0),
        mobile_url: &attribute(&urls.1),
        expires_at: &binding.expires_at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    };
    answer(StatusCode::OK, page.render())
}

/// A URL for an attribute: `&amp;` rather than askama's numeric form, which programs that read the page know.
fn attribute(url: &str) -> String {
    url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

/// WeChat's authorization pages, for a computer and for a phone.
async fn authorize_urls(app: &App, binding: &Binding) -> Result<(String, String), Error> {
    let component = &app.config.component.app_id;
    let left = binding.pre_auth_expires.unwrap_or(0) - app.clock.unix();
    let code = match &binding.pre_auth_code {
        Some(code) if left > PRE_AUTH_LEFT_SECONDS => Secret::new(code),
        _ => {
            let given = tokens::with_component(app, |token| async move {
                app.wechat.create_preauthcode(&token, component).await
            })
            .await?;
            let expires = app.clock.unix() + given.expires_in;
            app.store.keep_pre_auth_code(&binding.id, given.code.expose(), expires).await?;
            given.code
        }
    };
    let redirect_uri = format!("{}/bind/callback?binding={}", app.config.public_url, binding.id);
    let url = AuthorizeUrl {
        component_app_id: component,
        pre_auth_code: &code,
        redirect_uri: &redirect_uri,
        biz_app_id: None,
    };
    Ok((url.pc(&app.config.wechat_mp_url), url.mobile(&app.config.wechat_open_url)))
}

/// What WeChat adds to the `redirect_uri`.
#[derive(Deserialize)]
pub(crate) struct Return {
    #[serde(default)]
    binding: String,
    auth_code: Option<String>,
}

/// `GET /bind/callback`.
pub(crate) async fn returned(State(app): State<Arc<App>>, Query(query): Query<Return>) -> Response {
    let binding = match app.store.binding_by_link(&query.binding).await {
        Ok(Some(binding)) => binding,
        Ok(None) => return unknown(),
        Err(error) => return unavailable(&error, None),
    };
    if let Some(ended) = ended(&app, &binding).await {
        return ended;
    }
    let retry = format!("{}/bind/{}", app.config.public_url, binding.id);
    let Some(code) = query.auth_code.filter(|code| !code.is_empty()) else {
        return bad_code(&binding, &retry);
    };
    match complete(&app, &binding.tenant_id, Some(&binding.id), &Secret::new(code), None).await {
        Ok(Outcome::Bound { app_id }) => bound(&app, &binding, Some(&app_id)).await,
        Ok(Outcome::Refused { reason, .. }) => refused(reason, binding.return_url.as_deref()),
        Ok(Outcome::BadCode) => wait_for_event(&app, &binding, &retry).await,
        Err(Error::NoTicket) => no_ticket(),
        Err(error) => match wait_for_event(&app, &binding, &retry).await {
            page if page.status() == StatusCode::OK => page,
            _ => unavailable(&error, Some(&retry)),
        },
    }
}

/// The code does not work: it is made up or too old, or the event's job was faster and is about to finish.
async fn wait_for_event(app: &App, binding: &Binding, retry: &str) -> Response {
    for _ in 0..WAIT_STEPS {
        match app.store.binding_by_link(&binding.id).await {
            Ok(Some(now)) => {
                if let Some(page) = ended(app, &now).await {
                    return page;
                }
                if now.event_at.is_none() {
                    break;
                }
            }
            Ok(None) => return unknown(),
            Err(error) => return unavailable(&error, Some(retry)),
        }
        tokio::time::sleep(WAIT_STEP).await;
    }
    bad_code(binding, retry)
}

/// The page of a binding that is over.
async fn ended(app: &App, binding: &Binding) -> Option<Response> {
    let back = binding.return_url.as_deref();
    match binding.status_at(app.clock.now()) {
        BindingStatus::Pending => None,
        BindingStatus::Bound => Some(bound(app, binding, binding.app_id.as_deref()).await),
        BindingStatus::Refused => Some(refused(binding.reason.as_deref().unwrap_or(""), back)),
        BindingStatus::Expired => Some(
            ResultPage {
                style: STYLE,
                title: "This link has expired",
                text: "Ask whoever sent it to you for a new one.",
                good: false,
                code: Some("expired"),
                retry_url: None,
                return_url: back,
            }
            .respond(StatusCode::GONE),
        ),
    }
}

/// Names the account: an administrator of several sees whether it was the right one.
async fn bound(app: &App, binding: &Binding, app_id: Option<&str>) -> Response {
    let account = match app_id {
        Some(app_id) => app.store.account(&binding.tenant_id, app_id).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the account's name could not be read: {error}");
            None
        }),
        None => None,
    };
    let name = account.as_ref().map(|account| account.name.as_str()).filter(|name| !name.is_empty());
    let name = name.unwrap_or("The account");
    ResultPage {
        style: STYLE,
        title: &format!("{name} is bound"),
        text: "Its followers are being imported now. You can close this page.",
        good: true,
        code: None,
        retry_url: None,
        return_url: binding.return_url.as_deref(),
    }
    .respond(StatusCode::OK)
}

fn refused(reason: &str, return_url: Option<&str>) -> Response {
    let text = match reason {
        "unverified_account" => {
            "Only accounts with WeChat verification can be bound: too much does not work without it. Have the \
             account verified on mp.weixin.qq.com, then bind it again. A Weibo verification does not count."
        }
        "account_bound_elsewhere" => {
            "This account is bound by another customer of this hub. It can be bound here once they cancel the \
             authorization and delete the account from their list."
        }
        "not_an_official_account" => "This is not an Official Account. Mini programs cannot be bound.",
        _ => {
            "WeChat did not grant access to the account's interfaces. Authorize it again and grant all permissions."
        }
    };
    ResultPage {
        style: STYLE,
        title: "The account was not bound",
        text,
        good: false,
        code: Some(reason),
        retry_url: None,
        return_url,
    }
    .respond(StatusCode::OK)
}

fn bad_code(binding: &Binding, retry: &str) -> Response {
    ResultPage {
        style: STYLE,
        title: "WeChat's authorization did not arrive",
        text: "The code in this address is used, too old or not WeChat's. Nothing was bound; start over.",
        good: false,
        code: Some("authorization_failed"),
        retry_url: Some(retry),
        return_url: binding.return_url.as_deref(),
    }
    .respond(StatusCode::BAD_REQUEST)
}

fn unknown() -> Response {
    ResultPage {
        style: STYLE,
        title: "There is no such link",
        text: "The address is incomplete, or the binding was made too long ago. Ask for a new link.",
        good: false,
        code: None,
        retry_url: None,
        return_url: None,
    }
    .respond(StatusCode::NOT_FOUND)
}

fn no_ticket() -> Response {
    ResultPage {
        style: STYLE,
        title: "Not ready yet",
        text: "WeChat has not sent this platform a component_verify_ticket yet. It does so every 10 minutes once \
               the authorization event URL is set in WeChat's console. Reload this page in a few minutes.",
        good: false,
        code: Some("component_verify_ticket missing"),
        retry_url: None,
        return_url: None,
    }
    .respond(StatusCode::SERVICE_UNAVAILABLE)
}

fn unavailable(error: &Error, retry: Option<&str>) -> Response {
    tracing::error!(%error, "a binding page failed: {error}");
    ResultPage {
        style: STYLE,
        title: "WeChat did not answer",
        text: "Nothing is lost. Wait a moment and try again.",
        good: false,
        code: None,
        retry_url: retry,
        return_url: None,
    }
    .respond(StatusCode::BAD_GATEWAY)
}
