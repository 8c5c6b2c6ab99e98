//! What programs and browsers do: the API, and the pages of a binding.

use serde_json::Value;
use wechat_simulator::Grant;

use super::{World, hub::http_event};

impl World {
    /// One request to the API. [`None`] where no answer came.
    pub async fn api(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
        once: Option<&str>,
    ) -> Option<(u16, Value)> {
        let bearer = format!("Bearer {key}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(once.map(|key| ("idempotency-key", key)));
        let body = body.map(|b| b.to_string());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = http_event(method, path, query, &headers, body.as_deref(), self.now());
        let (answer, _) = self.invoke("TenantApi", event).await?;
        let status = u16::try_from(answer["statusCode"].as_u64()?).ok()?;
        Some((status, serde_json::from_str(answer["body"].as_str().unwrap_or("null")).unwrap_or_default()))
    }

    /// Opens one of the hub's pages.
    pub async fn browse(&self, url: &str) -> Option<(u16, String)> {
        let (path, query) =
            url.strip_prefix("http://hub")?.split_once('?').unwrap_or((url.strip_prefix("http://hub")?, ""));
        let event = http_event("GET", path, query, &[], None, self.now());
        let (answer, _) = self.invoke(&self.route("GET", path), event).await?;
        let status = u16::try_from(answer["statusCode"].as_u64()?).ok()?;
        Some((status, answer["body"].as_str().unwrap_or_default().to_owned()))
    }

    /// An administrator binds an account for the tenant of `key`: binding, page, consent, and back where
    /// `returns`. Answers how it went, as far as it went.
    pub async fn bind(&self, key: &str, app_id: &str, returns: bool, event: bool) -> Option<u16> {
        let (_, binding) = self.api(key, "POST", "/v1/bindings", Some(serde_json::json!({})), None).await?;
        let (status, page) = self.browse(binding["url"].as_str()?).await?;
        if status != 200 {
            return Some(status);
        }
        let code = page.split("pre_auth_code=").nth(1)?.split('&').next()?.replace("%40", "@");
        let granted = self.sim().authorize(Grant {
            app_id: app_id.to_owned(),
            pre_auth_code: Some(code),
            redirect_uri: Some(format!("http://hub/bind/callback?binding={}", binding["id"].as_str()?)),
            without_event: !event,
            ..Grant::default()
        });
        let back = granted.ok()?.redirect_url?;
        if returns { self.browse(&back).await.map(|(status, _)| status) } else { None }
    }
}
