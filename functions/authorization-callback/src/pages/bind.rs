//! The page before WeChat's authorization page: who asks for what, and links for computer and phone.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderMap, StatusCode, header::SET_COOKIE};
use jiff::{Timestamp, tz::Offset};
use shared::{
    error::Error,
    model::{
        authorization,
        binding::{Binding, BindingStatus},
    },
    secret::Secret,
    services::Services,
    texts::bind as texts,
    tokens,
    wechat::authorize_url::AuthorizeUrl,
};

use super::{
    cookie,
    layout::{PermissionSetText, Reader, STYLE, host, page_response, permission_set_texts},
    link::{LinkLookup, LinkWithTenant, account_name, authorized_name, look_up_link},
    result,
    time_limit::{BIND_PAGE_TIMEOUT, with_timeout},
};

/// Beijing time, which WeChat uses.
const BEIJING: Offset = Offset::constant(8);

#[derive(Template)]
#[template(path = "bind.html")]
struct BindPage<'a> {
    style: &'static str,
    tag: &'static str,
    host: String,
    title: &'static str,
    /// How the last try ended, if it was refused.
    refused: Option<(String, String)>,
    asks: String,
    means: String,
    /// The one account that the link is restricted to, and where its app id can be found.
    only: Option<(String, &'static str)>,
    grant: &'static str,
    sets: Vec<PermissionSetText>,
    in_wechat: bool,
    how: &'static str,
    pc_url: &'a str,
    mobile_url: &'a str,
    pc: &'static str,
    mobile: &'static str,
    elsewhere: Option<&'static str>,
    leads_to: Option<String>,
    good_until: String,
    verified: &'static str,
}

/// `GET /bind/{binding_id}`.
pub(crate) async fn bind_page(
    State(app): State<Arc<Services>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let reader = Reader::of(headers);
    let link = match look_up_link(&app, &id).await {
        Ok(LinkLookup::Usable(link)) => link,
        Ok(LinkLookup::TenantSuspended) => return result::tenant_suspended(&app, reader.lang),
        Ok(LinkLookup::Unknown) => return result::unknown_link(&app, reader.lang),
        Err(error) => return result::unavailable(&app, reader.lang, &error, None),
    };
    let binding = &link.binding;
    let now = app.clock.now();
    let has_ended = match binding.status_at(now) {
        BindingStatus::Pending => false,
        BindingStatus::Refused => binding.expires_at <= now, // until then it may be tried again
        BindingStatus::Bound | BindingStatus::Expired => true,
    };
    with_timeout(BIND_PAGE_TIMEOUT, &app, reader.lang, binding, async {
        match has_ended {
            true => result::ended(&app, reader.lang, &link).await,
            false => render_page(&app, &reader, &link, now).await,
        }
    })
    .await
}

async fn render_page(
    app: &Services,
    reader: &Reader,
    link: &LinkWithTenant,
    now: Timestamp,
) -> Result<Response, Error> {
    let lang = reader.lang;
    let LinkWithTenant { binding, tenant } = link;
    let code = pre_auth_code(app, binding).await?;
    let urls = authorization_urls(app, binding, &code);
    let only = match &binding.only_app_id {
        Some(only) => {
            let name = account_name(app, &binding.tenant_id, Some(only), lang).await?;
            let named = if name == *only { name } else { format!("{name} ({only})") };
            Some((texts::bound_to_one_account(lang, &named), texts::WHERE_ITS_ID_STANDS.in_language(lang)))
        }
        None => None,
    };
    let refused = match binding.reason {
        Some(reason) => {
            let account = authorized_name(app, binding, lang).await?;
            let why = result::refusal_text(app, lang, link, reason, &account).await?;
            Some((texts::last_attempt_failed(lang, &account), why))
        }
        None => None,
    };
    let minutes = (binding.expires_at.as_second() - now.as_second()).max(0).saturating_add(59) / 60;
    let clock = |offset: Offset| offset.to_datetime(binding.expires_at).strftime("%H:%M").to_string();
    let platform = host(&app.config.public_url);
    let page = BindPage {
        style: STYLE,
        tag: lang.tag(),
        title: texts::BIND.in_language(lang),
        refused,
        asks: texts::who_asks(lang, tenant),
        means: texts::what_binding_means(lang, tenant, &platform),
        host: platform,
        only,
        grant: texts::GRANT.in_language(lang),
        sets: permission_set_texts(lang, |_| true),
        in_wechat: reader.in_wechat,
        how: if reader.in_wechat { texts::AUTHORIZE_HERE_HOW } else { texts::SCAN_HOW }.in_language(lang),
        pc_url: &escape_attribute(&urls.0),
        mobile_url: &escape_attribute(&urls.1),
        pc: if reader.in_wechat { texts::SCAN_INSTEAD } else { texts::SCAN }.in_language(lang),
        mobile: if reader.in_wechat { texts::AUTHORIZE_HERE } else { texts::WITHOUT_SCANNING }
            .in_language(lang),
        elsewhere: (!reader.in_wechat).then(|| texts::ON_A_PHONE.in_language(lang)),
        leads_to: binding.return_url.as_deref().map(|url| texts::leads_to(lang, &host(url))),
        good_until: texts::good_until(lang, &clock(BEIJING), &clock(Offset::UTC), minutes),
        verified: texts::ONLY_VERIFIED.in_language(lang),
    };
    let mut response = page_response(StatusCode::OK, page.render());
    if let Some(cookie) = cookie::set_cookie(app, binding, &authorization::code_fingerprint(code.expose())) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Returns a pre_auth_code: the stored one if it is fresh and still unused, or a new one.
async fn pre_auth_code(app: &Services, binding: &Binding) -> Result<Secret, Error> {
    if let Some(code) = binding.code_to_show(app.clock.unix()) {
        return Ok(code);
    }
    let component = &app.config.component.app_id;
    let given =
        tokens::with_component(
            app,
            |token| async move { app.wechat.create_preauthcode(&token, component).await },
        )
        .await?;
    let expires = app.clock.unix() + given.expires_in;
    app.store.bindings().store_pre_auth_code(binding, given.code.expose(), expires).await?;
    // opening a page may have fetched a new component token: show the operator its state at once
    app.store.platform_status().store(&app.store.component().cached().await?, None).await?;
    Ok(given.code)
}

/// WeChat's authorization pages, for a computer and for a phone.
fn authorization_urls(app: &Services, binding: &Binding, code: &Secret) -> (String, String) {
    let redirect_uri = format!("{}/bind/callback?binding={}", app.config.public_url, binding.id);
    let url = AuthorizeUrl {
        component_app_id: &app.config.component.app_id,
        pre_auth_code: code,
        redirect_uri: &redirect_uri,
        biz_app_id: binding.only_app_id.as_deref(),
    };
    (url.qr_code_page(&app.config.wechat_mp_url), url.in_wechat_page(&app.config.wechat_open_url))
}

/// Escapes a URL for an attribute, with `&amp;` and not askama's numeric form, which simple parsers lack.
fn escape_attribute(url: &str) -> String {
    url.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}
