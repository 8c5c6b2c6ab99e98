//! Actions of tenants and of their accounts' owners.

use reqwest::{Method, Url};
use serde_json::{Value, json};
use wechat_simulator::{
    Account, Act, Delivery, Follower, Kind, NewAccount, Outcome, Stamp, state::account::PERMISSIONS,
};

use crate::{
    api::{Answer, Caller, client},
    hub::Hub,
    wait::until,
};

/// Maximum cookies that the test browser sends.
const COOKIES: usize = 30;

/// A tenant of a hub.
pub struct Tenant<'a> {
    /// The hub.
    pub hub: &'a Hub,
    /// Its API client.
    pub api: Caller,
    /// `ten_…`
    pub id: String,
}

/// A pending binding.
pub struct Link {
    /// `bnd_…`
    pub id: String,
    /// The link that the owner opens.
    pub url: String,
}

impl Hub {
    /// A new tenant.
    pub async fn tenant(&self) -> Tenant<'_> {
        let made =
            self.operator().post("/v1/tenants", &json!({"name": "Invented Cafe Ltd."})).await.expect(201);
        let key = made["api_key"].as_str().unwrap().to_owned();
        let api = Caller { url: self.url.clone(), key: Some(key) };
        Tenant { hub: self, api, id: made["id"].as_str().unwrap().to_owned() }
    }

    /// A verified service account with `followers`, not bound to the hub.
    #[must_use]
    pub fn service_account(&self, followers: u64) -> Account {
        self.account(NewAccount { followers, ..NewAccount::default() })
    }

    /// A verified subscription account with `followers`.
    #[must_use]
    pub fn subscription_account(&self, followers: u64) -> Account {
        self.account(NewAccount { followers, kind: Some(Kind::Subscription), ..NewAccount::default() })
    }

    /// Any account.
    #[must_use]
    pub fn account(&self, new: NewAccount) -> Account {
        self.wechat.add_account(new).unwrap()
    }

    /// The newest follower of the account.
    #[must_use]
    pub fn follower(&self, account: &Account) -> Follower {
        self.wechat.account(&account.app_id).unwrap().followers.latest(0, 1)[0].clone()
    }

    /// A follower acts, and the hub accepts the push.
    pub async fn act(&self, account: &Account, open_id: &str, act: Act) -> Delivery {
        let delivery = self.wechat.act(&account.app_id, open_id, act, Stamp::default()).await.unwrap();
        assert!(matches!(delivery.outcome, Outcome::Accepted | Outcome::Replied), "{delivery:?}");
        delivery
    }

    /// A follower writes.
    pub async fn say(&self, account: &Account, open_id: &str, words: &str) -> Delivery {
        self.act(account, open_id, Act::Text { content: words.into(), bizmsgmenuid: None }).await
    }

    /// The owner opens the hub's page, then WeChat's, grants these permissions; returns where WeChat sends
    /// the browser.
    pub async fn consent(&self, link: &Link, app_id: &str, permissions: &[u32]) -> String {
        let page = self.open(&link.url).await;
        assert_eq!(page.status, 200, "{page:?}");
        let authorize = href(&page.text, "authorize");
        assert!(
            authorize.starts_with(&format!("{}/cgi-bin/componentloginpage?", self.wechat_url)),
            "{authorize}"
        );
        let asked = Url::parse(&authorize).unwrap();
        let get = |name: &str| asked.query_pairs().find(|(n, _)| n == name).unwrap().1.into_owned();
        let wechat = client().get(authorize.clone()).header("Referer", &link.url);
        assert_eq!(Answer::of(wechat).await.unwrap().status, 200, "WeChat's own page at {authorize}");
        let mut form = vec![
            ("decision".to_owned(), "grant".to_owned()),
            ("app_id".to_owned(), app_id.to_owned()),
            ("pre_auth_code".to_owned(), get("pre_auth_code")),
            ("redirect_uri".to_owned(), get("redirect_uri")),
        ];
        form.extend(permissions.iter().map(|id| ("func_ids".to_owned(), id.to_string())));
        let mut url = Url::parse("http://form/").unwrap();
        url.query_pairs_mut().extend_pairs(form);
        let posted = client()
            .post(format!("{}/_sim/consent", self.wechat_url))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(url.query().unwrap().to_owned());
        let answer = Answer::of(posted).await.unwrap();
        answer.location.unwrap_or_else(|| panic!("WeChat did not lead back: {}", answer.text))
    }

    /// The test browser opens a page; it keeps its cookies between calls.
    pub async fn open(&self, url: &str) -> Answer {
        self.open_as(url, &[]).await
    }

    /// The same with more headers. A page that reloads itself until the outcome of the consent is known
    /// is followed to its end.
    pub async fn open_as(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut answer = self.load(url, headers).await;
        while answer.status == 202
            && let Some((seconds, next)) = answer.reload(url)
        {
            tokio::time::sleep(seconds).await;
            answer = self.load(&next, headers).await;
        }
        answer
    }

    async fn load(&self, url: &str, headers: &[(&str, &str)]) -> Answer {
        let sent = {
            let cookies = self.cookies.lock().unwrap();
            let latest = cookies.iter().rev().take(COOKIES).map(|(name, value)| format!("{name}={value}"));
            latest.collect::<Vec<_>>().join("; ")
        };
        let mut request = client().request(Method::GET, url).header("Cookie", sent);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = Answer::of(request).await.unwrap();
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
    pub async fn open_elsewhere(&self, url: &str) -> Answer {
        Answer::of(client().request(Method::GET, url)).await.unwrap()
    }
}

impl Tenant<'_> {
    /// Creates a binding.
    pub async fn link(&self) -> Link {
        let made = self.api.post("/v1/bindings", &json!({})).await.expect(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Link { id: text("id"), url: text("url") }
    }

    /// A binding's current state.
    pub async fn binding(&self, link: &Link) -> Value {
        self.api.get(&format!("/v1/bindings/{}", link.id)).await.expect(200)
    }

    /// Goes through the binding as the owner would; returns the last page and the binding's state.
    pub async fn bind_with(&self, app_id: &str, permissions: &[u32]) -> (Answer, Value) {
        let link = self.link().await;
        let back = self.hub.consent(&link, app_id, permissions).await;
        let page = self.hub.open(&back).await;
        (page, self.binding(&link).await)
    }

    /// Tries to bind, granting everything.
    pub async fn try_bind(&self, account: &Account) -> (Answer, Value) {
        self.bind_with(&account.app_id, &PERMISSIONS.map(|(id, ..)| id)).await
    }

    /// Binds an account with everything granted, and waits for its first import.
    pub async fn bind(&self, account: &Account) {
        let (page, binding) = self.try_bind(account).await;
        assert_eq!((page.status.as_u16(), binding["status"].as_str()), (200, Some("bound")), "{page:?}");
        self.imported(&account.app_id).await;
    }

    /// Waits until the newest import of an account is complete.
    pub async fn imported(&self, app_id: &str) -> Value {
        until(format!("an import of {app_id}"), async || {
            let import = self.import(app_id).await?;
            assert_ne!(import["status"], "failed", "{import}");
            (import["status"] == "completed").then_some(import)
        })
        .await
    }

    /// The newest import of an account.
    pub async fn import(&self, app_id: &str) -> Option<Value> {
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
                self.api.all(&format!("/v1/customers/{id}/timeline")).await
            }
            None => Vec::new(),
        }
    }

    /// Replaces an account's reply rules; members missing from `rules` become empty.
    pub async fn rules(&self, app_id: &str, rules: &Value) {
        let mut whole = json!({ "on_subscribe": null, "keywords": [], "default": null });
        for (member, value) in rules.as_object().into_iter().flatten() {
            whole[member] = value.clone();
        }
        let _ = self.api.put(&format!("/v1/accounts/{app_id}/reply-rules"), &whole).await.expect(200);
    }

    /// Sends a message and waits for its final status.
    pub async fn send(&self, app_id: &str, message: &Value) -> Value {
        let sent = self.api.post(&format!("/v1/accounts/{app_id}/messages"), message).await.expect(202);
        self.outcome(sent["id"].as_str().unwrap()).await
    }

    /// Waits for a message's final status.
    pub async fn outcome(&self, id: &str) -> Value {
        until(format!("an end of {id}"), async || {
            let message = self.api.get(&format!("/v1/messages/{id}")).await.expect(200);
            (!matches!(message["status"].as_str(), Some("queued" | "sending"))).then_some(message)
        })
        .await
    }
}

/// The target of the link with this id.
#[must_use]
pub fn href(page: &str, id: &str) -> String {
    let tags = page.split("<a ").skip(1).filter_map(|rest| rest.split_once('>'));
    let mut found = tags.filter(|(tag, _)| tag.contains(&format!("id=\"{id}\"")));
    let (tag, _) = found.next().unwrap_or_else(|| panic!("no link {id} in {page}"));
    let (url, _) = tag.split_once("href=\"").unwrap().1.split_once('"').unwrap();
    url.replace("&amp;", "&").replace("&#38;", "&")
}

/// A text message's content.
#[must_use]
pub fn text(words: &str) -> Value {
    json!({"msgtype": "text", "text": {"content": words}})
}
