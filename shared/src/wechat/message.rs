//! Messages to one fan: customer-service messages and template messages.
//!
//! Source: WeChat's message/custom/send and message/template/send. Neither call may be retried
//! blindly after [`ApiError::may_have_happened`]: WeChat cannot deduplicate a
//! customer-service message; a template message has `client_msg_id` for that.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ACCESS_TOKEN, ApiError, Client, EmptyResponse, lenient};
use crate::secret::Secret;

impl Client {
    /// Sends a customer-service message. `content` is WeChat's JSON; a `touser` in it is ignored.
    ///
    /// # Errors
    /// [`ApiError`]; 45015 outside the reply window, 45047 when its sends are used up.
    pub async fn custom_send(&self, token: &Secret, touser: &str, content: &Value) -> Result<(), ApiError> {
        let body = with_touser(touser, content)?;
        let path = "/cgi-bin/message/custom/send";
        self.post::<EmptyResponse>(path, (ACCESS_TOKEN, token), &body).await.map(drop)
    }

    /// Sends a template message and returns its `msgid`, which the delivery event names. `template` is
    /// WeChat's JSON without `touser`; the same fan and `client_msg_id` get it once within ten minutes.
    ///
    /// # Errors
    /// [`ApiError`]; 47003 names the parameter that is wrong.
    pub async fn template_send(
        &self,
        token: &Secret,
        touser: &str,
        template: &Value,
        client_msg_id: &str,
    ) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct TemplateSendResponse {
            // Up to 19 digits: more than JavaScript, and so many JSON parsers, keep exactly; kept as text.
            #[serde(default, deserialize_with = "lenient::text")]
            msgid: String,
        }
        let mut body = with_touser(touser, template)?;
        body.insert("client_msg_id".to_owned(), client_msg_id.into());
        let path = "/cgi-bin/message/template/send";
        let answer: TemplateSendResponse = self.post(path, (ACCESS_TOKEN, token), &body).await?;
        Ok(answer.msgid)
    }
}

/// `content` with `touser` in front. Anything but an object is not sent.
fn with_touser(touser: &str, content: &Value) -> Result<Map<String, Value>, ApiError> {
    let content =
        content.as_object().ok_or_else(|| ApiError::Malformed("the content is not an object".to_owned()))?;
    let mut body = Map::from_iter([("touser".to_owned(), Value::from(touser))]);
    let rest = content.iter().filter(|(name, _)| *name != "touser");
    body.extend(rest.map(|(name, value)| (name.clone(), value.clone())));
    Ok(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wechat::fake::{FakeTransport, sample};

    #[tokio::test]
    async fn a_customer_service_message_is_the_tenants_content_with_an_address() {
        let mut files = 0;
        for name in ["text", "news", "menu", "article", "wxcard", "miniprogram"] {
            let request: Value =
                serde_json::from_str(&sample(&format!("custom_send_{name}_request"))).unwrap();
            let mut content = request.clone();
            content["touser"] = json!("somebody else");
            let (client, fake) = FakeTransport::client(&[&sample("ok")]);
            let touser = request["touser"].as_str().unwrap();
            client.custom_send(&Secret::new("t"), touser, &content).await.unwrap();
            assert_eq!(
                fake.single_request(),
                ("Post /cgi-bin/message/custom/send?access_token=t".into(), request),
                "{name}"
            );
            files += 1;
        }
        assert_eq!(files, 6);
    }

    #[tokio::test]
    async fn a_body_is_raw_utf8() {
        let (client, fake) = FakeTransport::client(&[&sample("ok")]);
        let content = json!({ "msgtype": "text", "text": { "content": "你好 😀 <a href=\"x\">é</a>" } });
        client.custom_send(&Secret::new("t"), "o1", &content).await.unwrap();
        let sent = String::from_utf8(fake.last_body()).unwrap();
        assert!(sent.contains("你好 😀 <a") && !sent.contains("\\u"), "{sent}");
        assert!(sent.starts_with(r#"{"touser":"o1","msgtype":"#), "{sent}");
    }

    #[tokio::test]
    async fn a_template_message_answers_its_number_exactly() {
        let request: Value = serde_json::from_str(&sample("template_send_request")).unwrap();
        let mut template = request.clone();
        template.as_object_mut().unwrap().retain(|name, _| name != "touser" && name != "client_msg_id");
        let (client, fake) = FakeTransport::client(&[&sample("template_send_response")]);
        let touser = request["touser"].as_str().unwrap();
        let msgid = client.template_send(&Secret::new("t"), touser, &template, "wf-77-step-3").await.unwrap();
        assert_eq!(msgid, "3428411849815980001");
        assert_eq!(
            fake.single_request(),
            ("Post /cgi-bin/message/template/send?access_token=t".into(), request)
        );
    }

    #[tokio::test]
    async fn content_that_is_no_object_is_not_sent() {
        let (client, fake) = FakeTransport::client(&[]);
        let why = client.custom_send(&Secret::new("t"), "o1", &json!("hi")).await.unwrap_err();
        assert!(matches!(why, ApiError::Malformed(_)));
        assert!(fake.has_no_request());
    }
}
