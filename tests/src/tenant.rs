//! Actions of tenants and of their accounts' owners.

use reqwest::{Method, Url};
use serde_json::{Value, json};
use wechat_simulator::{
    AccountKind, Follower, FollowerAction, NewAccount, PushDelivery, PushOutcome, PushOverrides,
    SimulatedAccount, state::account::PERMISSIONS,
};

use crate::{
    api::{ApiClient, HttpResponse, http_client},
    hub::Hub,
    wait::until,
};

/// Maximum cookies that the test browser sends.
const MAX_COOKIES: usize = 30;

/// A tenant of a hub.
pub struct Tenant<'a> {
    /// The hub.
    pub hub: &'a Hub,
    /// Its API client.
    pub api: ApiClient,
    /// `ten_…`
    pub id: String,
}

/// A pending binding.
pub struct BindingLink {
    /// `bnd_…`
    pub id: String,
    /// The link that the owner opens.
    pub url: String,
}

impl Hub {
    /// A new tenant.
    pub async fn create_tenant(&self) -> Tenant<'_> {
        let made =
            self.operator().post("/v1/tenants", &json!({"name": "Invented Cafe Ltd."})).await.expect(201);
        let key = made["api_key"].as_str().unwrap().to_owned();
        let api = ApiClient { url: self.url.clone(), key: Some(key) };
        Tenant { hub: self, api, id: made["id"].as_str().unwrap().to_owned() }
    }

    /// A verified service account with `followers`, not bound to the hub.
    #[must_use]
    pub fn add_service_account(&self, followers: u64) -> SimulatedAccount {
        self.add_account(NewAccount { followers, ..NewAccount::default() })
    }

    /// A verified subscription account with `followers`.
    #[must_use]
    pub fn add_subscription_account(&self, followers: u64) -> SimulatedAccount {
        self.add_account(NewAccount {
            followers,
            kind: Some(AccountKind::Subscription),
            ..NewAccount::default()
        })
    }

    /// Any account.
    #[must_use]
    pub fn add_account(&self, new: NewAccount) -> SimulatedAccount {
        self.wechat.add_account(new).unwrap()
    }

    /// The newest follower of the account.
    #[must_use]
    pub fn newest_follower(&self, account: &SimulatedAccount) -> Follower {
        self.wechat.account(&account.app_id).unwrap().followers.latest(0, 1)[0].clone()
    }

    /// A follower acts, and the hub accepts the push.
    pub async fn act(&self, account: &SimulatedAccount, open_id: &str, act: FollowerAction) -> PushDelivery {
        let delivery =
            self.wechat.act(&account.app_id, open_id, act, PushOverrides::default()).await.unwrap();
        assert!(matches!(delivery.outcome, PushOutcome::Accepted | PushOutcome::Replied), "{delivery:?}");
        delivery
    }

    /// A follower writes.
    pub async fn say(&self, account: &SimulatedAccount, open_id: &str, words: &str) -> PushDelivery {
        self.act(account, open_id, FollowerAction::Text { content: words.into(), bizmsgmenuid: None }).await
    }

    /// The owner opens the hub's page, then WeChat's, grants these permissions; returns where WeChat sends
    /// the browser.
    pub async fn consent(&self, link: &BindingLink, app_id: &str, permissions: &[u32]) -> String {
        let page = self.open(&link.url).await;
        assert_eq!(page.status, 200, "{page:?}");
        let authorize = link_target(&page.text, "authorize");
        assert!(
            authorize.starts_with(&format!("{}/cgi-bin/componentloginpage?", self.wechat_url)),
            "{authorize}"
        );
        let asked = Url::parse(&authorize).unwrap();
        let get = |name: &str| asked.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
        let wechat = http_client().get(authorize.clone()).header("Referer", &link.url);
        assert_eq!(HttpResponse::send(wechat).await.unwrap().status, 200, "WeChat's own page at {authorize}");
        let mut form = vec![
            ("decision".to_owned(), "grant".to_owned()),
            ("app_id".to_owned(), app_id.to_owned()),
            ("pre_auth_code".to_owned(), get("pre_auth_code")),
            ("redirect_uri".to_owned(), get("redirect_uri")),
        ];
        form.extend(permissions.iter().map(|id| ("func_ids".to_owned(), id.to_string())));
        let mut url = Url::parse("http://form/").unwrap();
        url.query_pairs_mut().extend_pairs(form);
        let posted = http_client()
            .post(format!("{}/_sim/consent", self.wechat_url))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(url.query().unwrap().to_owned());
        let answer = HttpResponse::send(posted).await.unwrap();
        answer.location.unwrap_or_else(|| panic!("WeChat did not lead back: {}", answer.text))
    }

    /// The test browser opens a page; it keeps its cookies between calls.
    pub async fn open(&self, url: &str) -> HttpResponse {
        self.open_with_headers(url, &[]).await
    }

    /// The same with more headers. A page that reloads itself until the outcome of the consent is known
    /// is followed to its end.
    pub async fn open_with_headers(&self, url: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let mut answer = self.get_page(url, headers).await;
        while answer.status == 202
            && let Some((seconds, next)) = answer.refresh_target(url)
        {
            tokio::time::sleep(seconds).await;
            answer = self.get_page(&next, headers).await;
        }
        answer
    }

    async fn get_page(&self, url: &str, headers: &[(&str, &str)]) -> HttpResponse {
        let sent = {
            let cookies = self.cookies.lock().unwrap();
            let latest =
                cookies.iter().rev().take(MAX_COOKIES).map(|(name, value)| format!("{name}={value}"));
            latest.collect::<Vec<_>>().join("; ")
        };
        let mut request = http_client().request(Method::GET, url).header("Cookie", sent);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = HttpResponse::send(request).await.unwrap();
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().to_owned();
            let mut cookies = self.cookies.lock().unwrap();
            cookies.retain(|(known, _)| known != name);
            cookies.push((name.to_owned(), value));
        }
        answer
    }

    /// Another browser, without cookies, opens a page.
    pub async fn open_in_other_browser(&self, url: &str) -> HttpResponse {
        HttpResponse::send(http_client().request(Method::GET, url)).await.unwrap()
    }
}

impl Tenant<'_> {
    /// Creates a binding.
    pub async fn create_binding(&self) -> BindingLink {
        let made = self.api.post("/v1/bindings", &json!({})).await.expect(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        BindingLink { id: text("id"), url: text("url") }
    }

    /// A binding's current state.
    pub async fn binding(&self, link: &BindingLink) -> Value {
        self.api.get(&format!("/v1/bindings/{}", link.id)).await.expect(200)
    }

    /// Goes through the binding as the owner would; returns the last page and the binding's state.
    pub async fn bind_granting(&self, app_id: &str, permissions: &[u32]) -> (HttpResponse, Value) {
        let link = self.create_binding().await;
        let back = self.hub.consent(&link, app_id, permissions).await;
        let page = self.hub.open(&back).await;
        (page, self.binding(&link).await)
    }

    /// Tries to bind, granting everything.
    pub async fn try_bind(&self, account: &SimulatedAccount) -> (HttpResponse, Value) {
        self.bind_granting(&account.app_id, &PERMISSIONS.map(|(id, ..)| id)).await
    }

    /// Binds an account with everything granted, and waits for its first import.
    pub async fn bind(&self, account: &SimulatedAccount) {
        let (page, binding) = self.try_bind(account).await;
        assert_eq!((page.status.as_u16(), binding["status"].as_str()), (200, Some("bound")), "{page:?}");
        self.await_import(&account.app_id).await;
    }

    /// Waits until the newest import of an account is complete.
    pub async fn await_import(&self, app_id: &str) -> Value {
        until(format!("an import of {app_id}"), async || {
            let import = self.newest_import(app_id).await?;
            assert_ne!(import["status"], "failed", "{import}");
            (import["status"] == "completed").then_some(import)
        })
        .await
    }

    /// The newest import of an account.
    pub async fn newest_import(&self, app_id: &str) -> Option<Value> {
        let list = self.api.get(&format!("/v1/accounts/{app_id}/imports?limit=1")).await.expect(200);
        list["data"].get(0).cloned()
    }

    /// The customer of this follower; [`None`] if the hub does not know them.
    pub async fn customer(&self, app_id: &str, open_id: &str) -> Option<Value> {
        let list =
            self.api.get(&format!("/v1/customers?app_id={app_id}&open_id={open_id}")).await.expect(200);
        list["data"].get(0).cloned()
    }

    /// A follower's timeline, newest first.
    pub async fn timeline(&self, app_id: &str, open_id: &str) -> Vec<Value> {
        match self.customer(app_id, open_id).await {
            Some(customer) => {
                let id = customer["id"].as_str().unwrap().to_owned();
                self.api.list_all(&format!("/v1/customers/{id}/timeline")).await
            }
            None => Vec::new(),
        }
    }

    /// Replaces an account's reply rules; members missing from `rules` become empty.
    pub async fn set_reply_rules(&self, app_id: &str, rules: &Value) {
        let mut whole = json!({ "on_subscribe": null, "keywords": [], "default": null });
        for (member, value) in rules.as_object().into_iter().flatten() {
            whole[member] = value.clone();
        }
        let _ = self.api.put(&format!("/v1/accounts/{app_id}/reply-rules"), &whole).await.expect(200);
    }

    /// Sends a message and waits for its final status.
    pub async fn send_and_await(&self, app_id: &str, message: &Value) -> Value {
        let sent = self.api.post(&format!("/v1/accounts/{app_id}/messages"), message).await.expect(202);
        self.await_message(sent["id"].as_str().unwrap()).await
    }

    /// Waits for a message's final status.
    pub async fn await_message(&self, id: &str) -> Value {
        until(format!("an end of {id}"), async || {
            let message = self.api.get(&format!("/v1/messages/{id}")).await.expect(200);
            (!matches!(message["status"].as_str(), Some("queued" | "sending"))).then_some(message)
        })
        .await
    }
}

/// The target of the link with this id.
#[must_use]
pub fn link_target(page: &str, id: &str) -> String {
    let tags = page.split("<a ").skip(1).filter_map(|rest| rest.split_once('>'));
    let mut found = tags.filter(|(tag, _)| tag.contains(&format!("id=\"{id}\"")));
    let (tag, _) = found.next().unwrap_or_else(|| panic!("no link {id} in {page}"));
    let (url, _) = tag.split_once("href=\"").unwrap().1.split_once('"').unwrap();
    url.replace("&amp;", "&").replace("&#38;", "&")
}

/// A text message's content.
#[must_use]
pub fn text_content(words: &str) -> Value {
    json!({"msgtype": "text", "text": {"content": words}})
}
