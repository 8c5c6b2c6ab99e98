//! `/cgi-bin/user/*`: the followers of an account and their details.
//!
//! Source: WeChat's user/get, user/info and user/info/batchget. Permission set 2; verified accounts only.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ACCESS_TOKEN, ApiError, Client, NO_BODY, lenient, transport::Method};
use crate::secret::Secret;

/// Most openids of one page; the last page has fewer, or an empty `next_openid`.
pub const MAX_FOLLOWERS_PER_PAGE: usize = 10_000;

/// Most openids of one [`Client::user_info_batch`]; WeChat refuses more with 40032.
pub const MAX_USER_INFO_BATCH: usize = 100;

/// The language of place names, from the time when WeChat still returned any.
const LANG: &str = "zh_CN";

/// One page of an account's followers, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowerPage {
    /// All followers of the account.
    pub total: i64,
    /// How many openids WeChat says are on this page.
    pub count: i64,
    /// At most [`MAX_FOLLOWERS_PER_PAGE`].
    pub openids: Vec<String>,
    /// Where the next page starts; empty at the end.
    pub next_openid: String,
}

/// WeChat's details of one fan. For a fan who has unsubscribed only `subscribe` and `openid`
/// are set. Since the end of 2021 name, picture, sex and places are empty for all fans.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserInfo {
    /// 1 follows, 0 does not; see [`UserInfo::has_unsubscribed`].
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub subscribe: Option<i64>,
    /// The fan's id at this account.
    #[serde(default, deserialize_with = "lenient::text")]
    pub openid: String,
    /// The same human across a company's accounts; empty if not linked to an Open Platform account.
    #[serde(default, deserialize_with = "lenient::text")]
    pub unionid: String,
    /// Unix seconds of the newest follow.
    #[serde(default, deserialize_with = "lenient::optional_int")]
    pub subscribe_time: Option<i64>,
    /// `ADD_SCENE_…`; an open set.
    #[serde(default, deserialize_with = "lenient::text")]
    pub subscribe_scene: String,
    /// The number of the QR code that led here; 0 for none.
    #[serde(default, deserialize_with = "lenient::int")]
    pub qr_scene: i64,
    /// The text of the QR code that led here.
    #[serde(default, deserialize_with = "lenient::text")]
    pub qr_scene_str: String,
    /// Empty for most.
    #[serde(default, deserialize_with = "lenient::text")]
    pub nickname: String,
    /// Empty for most.
    #[serde(default, deserialize_with = "lenient::text")]
    pub headimgurl: String,
    /// 1 male, 2 female, 0 unknown.
    #[serde(default, deserialize_with = "lenient::int")]
    pub sex: i64,
    /// Empty for most.
    #[serde(default, deserialize_with = "lenient::text")]
    pub country: String,
    /// Empty for most.
    #[serde(default, deserialize_with = "lenient::text")]
    pub province: String,
    /// Empty for most.
    #[serde(default, deserialize_with = "lenient::text")]
    pub city: String,
    /// Of the fan's WeChat, such as `zh_CN`.
    #[serde(default, deserialize_with = "lenient::text")]
    pub language: String,
    /// The name that the account's staff gave the fan.
    #[serde(default, deserialize_with = "lenient::text")]
    pub remark: String,
    /// The tags that the account gave this fan.
    #[serde(default, deserialize_with = "lenient::ints")]
    pub tagid_list: Vec<i64>,
}

impl UserInfo {
    /// Whether WeChat says that the fan does not follow; no `subscribe` says nothing.
    #[must_use]
    pub fn has_unsubscribed(&self) -> bool {
        self.subscribe == Some(0)
    }
}

impl Client {
    /// A page of followers. An empty `next_openid` starts at the first one. 500 calls a day.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn followers(&self, token: &Secret, next_openid: &str) -> Result<FollowerPage, ApiError> {
        #[derive(Deserialize)]
        struct UserGetResponse {
            #[serde(default, deserialize_with = "lenient::optional_int")]
            total: Option<i64>,
            #[serde(default, deserialize_with = "lenient::int")]
            count: i64,
            #[serde(default, deserialize_with = "lenient::or_default")]
            data: UserGetData, // absent on an empty page
            #[serde(default, deserialize_with = "lenient::text")]
            next_openid: String,
        }
        #[derive(Deserialize, Default)]
        struct UserGetData {
            #[serde(default, deserialize_with = "lenient::texts")]
            openid: Vec<String>,
        }
        let mut query = vec![(ACCESS_TOKEN, token.expose())];
        if !next_openid.is_empty() {
            query.push(("next_openid", next_openid));
        }
        let answer: UserGetResponse = self.call(Method::Get, "/cgi-bin/user/get", &query, NO_BODY).await?;
        // without it an empty answer would look like the end of the list
        let total = answer.total.ok_or_else(|| ApiError::Malformed("it lacks total".to_owned()))?;
        Ok(FollowerPage {
            total,
            count: answer.count,
            openids: answer.data.openid,
            next_openid: answer.next_openid,
        })
    }

    /// WeChat's details of one fan.
    ///
    /// # Errors
    /// [`ApiError`]; 40003 for an openid of another account.
    pub async fn user_info(&self, token: &Secret, openid: &str) -> Result<UserInfo, ApiError> {
        let query = [(ACCESS_TOKEN, token.expose()), ("openid", openid), ("lang", LANG)];
        self.call(Method::Get, "/cgi-bin/user/info", &query, NO_BODY).await
    }

    /// WeChat's details of at most [`MAX_USER_INFO_BATCH`] fans. Match
    /// them by openid: WeChat guarantees neither order nor completeness.
    ///
    /// # Errors
    /// [`ApiError`]; [`ApiError::Malformed`] where one fan's text was not escaped, which hides all of them.
    pub async fn user_info_batch(
        &self,
        token: &Secret,
        openids: &[impl AsRef<str> + Sync],
    ) -> Result<Vec<UserInfo>, ApiError> {
        #[derive(Deserialize)]
        struct UserInfoBatchResponse {
            #[serde(default, deserialize_with = "lenient::objects")]
            user_info_list: Vec<UserInfo>,
        }
        let list: Vec<_> =
            openids.iter().map(|openid| json!({ "openid": openid.as_ref(), "lang": LANG })).collect();
        let body = json!({ "user_list": list });
        let path = "/cgi-bin/user/info/batchget";
        let answer: UserInfoBatchResponse = self.post(path, (ACCESS_TOKEN, token), &body).await?;
        Ok(answer.user_info_list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::fake::{FakeTransport, sample};

    #[tokio::test]
    async fn followers_come_in_pages() {
        let page = |count, openids: &[&str], next: &str| FollowerPage {
            total: 3,
            count,
            openids: openids.iter().map(|openid| (*openid).to_owned()).collect(),
            next_openid: next.into(),
        };
        let first = ["oHub0aBcDeFgHiJkLmNoPqRsTuV1", "oHub0002"];
        for (what, answer, expected) in [
            ("a first page", sample("user_get_page1"), page(2, &first, "oHub0002")),
            ("a last page", sample("user_get_last"), page(1, &["oHub0003"], "oHub0003")),
            ("a page without data", sample("user_get_empty"), page(0, &[], "")),
            (
                "a page of nulls",
                r#"{"total":"3","count":0,"data":null,"next_openid":null}"#.into(),
                page(0, &[], ""),
            ),
            ("data without a list", r#"{"total":3,"data":{"openid":null}}"#.into(), page(0, &[], "")),
            (
                "nulls in a list",
                r#"{"total":3,"data":{"openid":[null,"oHub0002",7]}}"#.into(),
                page(0, &["oHub0002"], ""),
            ),
        ] {
            let (client, fake) = FakeTransport::client(&[&answer]);
            assert_eq!(client.followers(&Secret::new("t"), "").await.as_ref(), Ok(&expected), "{what}");
            assert_eq!(fake.single_request().0, "Get /cgi-bin/user/get?access_token=t");
        }
        for without_total in ["{}", r#"{"errcode":0,"errmsg":"ok"}"#, r#"{"total":null,"count":0}"#] {
            let (client, _) = FakeTransport::client(&[without_total]);
            let refused = client.followers(&Secret::new("t"), "").await;
            assert!(matches!(refused, Err(ApiError::Malformed(_))), "an end of the list: {without_total}");
        }
        let (client, fake) = FakeTransport::client(&[r#"{"total":3}"#]);
        client.followers(&Secret::new("t"), "o1").await.unwrap();
        assert_eq!(fake.single_request().0, "Get /cgi-bin/user/get?access_token=t&next_openid=o1");
    }

    #[tokio::test]
    async fn a_fans_details_are_read_and_missing_ones_are_empty() {
        let expected = UserInfo {
            subscribe: Some(1),
            openid: "oHub0aBcDeFgHiJkLmNoPqRsTuV1".into(),
            unionid: "oUnionInvented0001".into(),
            subscribe_time: Some(1_735_688_600),
            subscribe_scene: "ADD_SCENE_QR_CODE".into(),
            qr_scene_str: "tenant42-shelf7".into(),
            language: "zh_CN".into(),
            tagid_list: vec![101, 2],
            ..UserInfo::default()
        };
        let token = Secret::new("t");
        let (client, fake) = FakeTransport::client(&[&sample("user_info")]);
        assert_eq!(client.user_info(&token, "o 1").await.as_ref(), Ok(&expected));
        assert_eq!(fake.single_request().0, "Get /cgi-bin/user/info?access_token=t&openid=o%201&lang=zh_CN");

        let (client, fake) = FakeTransport::client(&[&sample("user_info_batchget")]);
        let left = UserInfo { subscribe: Some(0), openid: "oHub0002".into(), ..UserInfo::default() };
        assert_eq!(client.user_info_batch(&token, &["o1", "o2"]).await.unwrap(), [expected, left]);
        let list = json!([{ "openid": "o1", "lang": "zh_CN" }, { "openid": "o2", "lang": "zh_CN" }]);
        assert_eq!(fake.single_request().1, json!({ "user_list": list }));

        let odd = r#"{"user_info_list":[null,{"subscribe":0,"openid":"oHub0002"},[],"x"]}"#;
        let (client, _) = FakeTransport::client(&[odd]);
        let left = UserInfo { subscribe: Some(0), openid: "oHub0002".into(), ..UserInfo::default() };
        assert_eq!(client.user_info_batch(&token, &["o1", "o2"]).await.unwrap(), [left], "odd elements");

        for (what, answer, has_left) in [
            ("one who left", sample("user_info_unsubscribed"), true),
            ("one who left, in quotes", r#"{"subscribe":"0"}"#.into(), true),
            ("one of whom WeChat says nothing", "{}".into(), false),
            ("one of nulls", r#"{"subscribe":null,"tagid_list":null,"qr_scene":""}"#.into(), false),
        ] {
            let got = FakeTransport::client(&[&answer]).0.user_info(&token, "o1").await.unwrap();
            assert_eq!(got.has_unsubscribed(), has_left, "{what}");
        }
    }
}
