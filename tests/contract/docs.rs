//! The documentation page: the commands it shows work.

use oahub_tests::{
    api::{HttpResponse, http_client},
    hub, run,
};
use reqwest::Method;

/// A curl command of `/docs` and the key that it needs.
struct CurlExample {
    key: String,
    curl: String,
}

fn curl_examples(page: &str) -> Vec<CurlExample> {
    let plain = |html: &str| {
        let signs =
            [("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&#38;", "&")];
        signs.iter().fold(html.to_owned(), |text, (escaped, sign)| text.replace(escaped, sign))
    };
    let between = |article: &str, from: &str, to: &str| {
        article.split(from).nth(1).map(|rest| plain(rest.split(to).next().unwrap()))
    };
    let articles = page.split("<article").skip(1);
    let line = |article: &str| {
        let curl = between(article, "<pre class=\"curl\">", "</pre>")?;
        Some(CurlExample { key: between(article, "class=\"key\">", "</span>").unwrap(), curl })
    };
    articles.filter_map(line).collect()
}

#[test]
fn every_line_of_the_page_is_taken_as_far_as_its_body_goes() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let page = hub.anonymous().get("/docs").await;
        let lines = curl_examples(&page.text);
        let with_body = lines.iter().filter(|line| line.curl.contains(" -d '")).count();
        assert!(lines.len() > 30 && with_body >= 7, "{} lines, {with_body} with bodies", lines.len());
        assert!(
            lines.iter().any(|line| line.curl.contains("/v1/bindings") && line.curl.contains("return_url"))
        );
        for CurlExample { key, curl } in &lines {
            let address = curl.split("\"$HUB").nth(1).unwrap().split('"').next().unwrap();
            let of_tenant = key.contains("tenant's key");
            let other = hub.create_tenant().await; // one of the lines suspends it
            let id = if of_tenant { "invented" } else { &*other.id };
            let address = address.replace("$KEY_ID", "invented");
            let address =
                address.replace("$APP_ID", &account.app_id).replace("$NAME", "send").replace("$ID", id);
            assert!(!address.contains('$'), "{curl}: nothing says what {address} is");
            let method = curl.split("-X ").nth(1).map_or("GET", |rest| rest.split(' ').next().unwrap());
            // deletions are not run
            if method == "DELETE" {
                continue;
            }
            let mut request = http_client()
                .request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{address}", hub.url));
            if curl.contains("Bearer $KEY") {
                let caller = if of_tenant { tenant.api.clone() } else { hub.operator() };
                request = request.bearer_auth(caller.key.unwrap());
            }
            let body =
                curl.split(" -d '").nth(1).map(|body| body.strip_suffix('\'').unwrap().replace("'\\''", "'"));
            if let Some(body) = &body {
                request =
                    request.header("Content-Type", "application/x-www-form-urlencoded").body(body.clone());
            }
            let answer = HttpResponse::send(request).await.unwrap();
            let taken = match body {
                Some(_) => answer.status.is_success() || answer.status == 404,
                None => !matches!(answer.status.as_u16(), 400 | 401 | 403 | 413 | 415 | 422),
            };
            assert!(taken, "{curl}: {answer:?}");
        }
    });
}
