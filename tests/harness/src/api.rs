//! What programs and browsers do: API requests, and the pages of a binding.

use serde_json::{Value, json};
use wechat_simulator::OwnerConsent;

use crate::{deployment::SimulatedDeployment, http_event::http_event, records::ConsentGiven};

/// The hub's page of a binding, open in one browser.
#[derive(Debug, Clone)]
pub struct OpenedBindingPage {
    /// Its HTTP status.
    pub status: u16,
    /// API key of the tenant whose page it is.
    pub key: String,
    /// The binding.
    pub binding_id: String,
    /// When the browser had it, unix seconds: no consent began on it before.
    pub opened_at: i64,
    /// The page's pre_auth_code.
    pub pre_auth_code: String,
    /// The cookies that the hub set.
    pub cookies: Vec<String>,
}

impl SimulatedDeployment {
    /// Sends one request to the API. [`None`] if no response came.
    pub async fn api(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        idempotency_key: Option<&str>,
    ) -> Option<(u16, Value)> {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(idempotency_key.map(|key| ("idempotency-key", key)));
        let body = body.map(|b| b.to_string());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = http_event(method, path, query, &headers, body.as_deref(), self.now());
        let (answer, _) = self.invoke("TenantApi", event).await?;
        let status = u16::try_from(answer["statusCode"].as_u64()?).ok()?;
        Some((status, serde_json::from_str(answer["body"].as_str().unwrap_or("null")).unwrap_or_default()))
    }

    /// A browser opens one of the hub's pages. Returns status, page, and the cookies for the next one.
    pub async fn browse(&self, url: &str, cookies: &[String]) -> Option<(u16, String, Vec<String>)> {
        let (path, query) =
            url.strip_prefix("http://hub")?.split_once('?').unwrap_or((url.strip_prefix("http://hub")?, ""));
        let mut event = http_event("GET", path, query, &[], None, self.now());
        if !cookies.is_empty() {
            event["cookies"] = json!(cookies);
        }
        let (answer, _) = self.invoke(&self.function_for("GET", path), event).await?;
        let status = u16::try_from(answer["statusCode"].as_u64()?).ok()?;
        let set = answer["cookies"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let set = set.filter_map(|cookie| cookie.split(';').next()).map(str::to_owned).collect();
        Some((status, answer["body"].as_str().unwrap_or_default().to_owned(), set))
    }

    /// An administrator opens the page of a new binding for the tenant of `key`.
    pub async fn open_page(&self, key: &str) -> Option<OpenedBindingPage> {
        self.open_page_for(key, None).await
    }

    /// The same with a link that is for `only` this account.
    pub async fn open_page_for(&self, key: &str, only: Option<&str>) -> Option<OpenedBindingPage> {
        let new = only.map_or_else(|| json!({}), |app_id| json!({"app_id": app_id}));
        let (_, binding) = self.api(key, "POST", "/v1/bindings", Some(new), None).await?;
        self.reopen_page(key, binding["id"].as_str()?).await
    }

    /// Another browser opens the page of a binding.
    pub async fn reopen_page(&self, key: &str, id: &str) -> Option<OpenedBindingPage> {
        let (key, id) = (key.to_owned(), id.to_owned());
        let (status, page, cookies) = self.browse(&format!("http://hub/bind/{id}"), &[]).await?;
        let code = page.split("pre_auth_code=").nth(1).and_then(|rest| rest.split('&').next());
        let code = code.unwrap_or_default().replace("%40", "@");
        let opened_at = self.now();
        Some(OpenedBindingPage { status, key, binding_id: id, opened_at, pre_auth_code: code, cookies })
    }

    /// Consents on WeChat's page for this account; returns the URL that WeChat redirects to. The flags say
    /// whether the event is sent and whether the code yields a refresh token.
    pub fn consent(
        &self,
        opened: &OpenedBindingPage,
        app_id: &str,
        event: bool,
        refresh_token: bool,
    ) -> Option<String> {
        let granted = self.sim().authorize(OwnerConsent {
            app_id: app_id.to_owned(),
            pre_auth_code: Some(opened.pre_auth_code.clone()),
            redirect_uri: Some(format!("http://hub/bind/callback?binding={}", opened.binding_id)),
            without_event: !event,
            without_refresh_token: !refresh_token,
            ..OwnerConsent::default()
        });
        let back = granted.ok()?.redirect_url;
        self.consents.lock().unwrap().push(ConsentGiven {
            key: opened.key.clone(),
            app_id: app_id.to_owned(),
            opened_at: opened.opened_at,
            consented_at: self.now(),
        });
        back
    }

    /// An administrator withdraws the authorization on WeChat's pages.
    pub fn withdraw(&self, app_id: &str, event: bool) {
        if self.sim().unauthorize(app_id, event).is_ok() {
            self.withdrawals.lock().unwrap().push((app_id.to_owned(), self.now()));
        }
    }

    /// An administrator binds an account for the tenant of `key`: binding, page, consent, and the redirect if
    /// `browser_returns`. Returns the status of the last page that was reached.
    pub async fn bind(&self, key: &str, app_id: &str, browser_returns: bool, event: bool) -> Option<u16> {
        let opened = self.open_page(key).await?;
        if opened.status != 200 {
            return Some(opened.status);
        }
        let back = self.consent(&opened, app_id, event, true)?;
        if browser_returns {
            self.browse(&back, &opened.cookies).await.map(|(status, ..)| status)
        } else {
            None
        }
    }
}
