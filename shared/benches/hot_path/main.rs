//! Cost of one text message without I/O: verify, decrypt, parse, choose a reply, encrypt, sign. The
//! target is 300,000 a second on one core where the baseline program does 430,000: 1.43 times its time.
#![expect(clippy::expect_used, reason = "helpers of tests may fail loudly")]

mod baseline;

use std::hint::black_box;

use baseline::BaselineProgram;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::json;
use shared::config::PlatformCredentials;
use shared::envelope::element::Element;
use shared::envelope::{Envelope, PushRecipient};
use shared::model::push::Push;
use shared::model::reply_rules::ReplyRules;
use shared::secret::Secret;

const AES_KEY: &str = "kQ3vXo7BzR2mN8sTfW1cYpE6uJ5hLdGa0iSxAeMnZbU";
const MESSAGE: &str = "<xml><ToUserName><![CDATA[gh_7b1c9d2e4f60]]></ToUserName>\n\
    <FromUserName><![CDATA[oHub0aBcDeFgHiJkLmNoPqRsTuV1]]></FromUserName>\n<CreateTime>1735689600</CreateTime>\n\
    <MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[opening hours?]]></Content>\n\
    <MsgId>24571903381120051</MsgId>\n</xml>";

fn hot_path(criterion: &mut Criterion) {
    let envelope = Envelope::new(&PlatformCredentials {
        app_id: "wx00c0ffee00c0ffee".to_owned(),
        token: Secret::new("hubToken2025"),
        aes_key: Secret::new(AES_KEY),
        ..PlatformCredentials::default()
    })
    .expect("the key is right");
    let text = |content: &str| json!({"msgtype": "text", "text": {"content": content}});
    let rules = ReplyRules::parse(json!({
        "on_subscribe": null,
        "keywords": [
            {"keyword": "price", "match": "contains", "reply": text("See our price list.")},
            {"keyword": "hours", "match": "contains", "reply": text("We are open from 9 to 18.")},
        ],
        "default": text("Thank you, we will answer soon."),
    }))
    .expect("the rules are right");
    let outer = PushRecipient::ToUserName("gh_7b1c9d2e4f60");
    let (query, body) = envelope.seal_push(outer, MESSAGE.as_bytes(), 1_735_689_600, "1879066412", [7; 16]);

    let mut group = criterion.benchmark_group("text message");
    group.throughput(Throughput::Elements(1));
    group.bench_function("whole path", |bencher| {
        bencher.iter(|| {
            let opened = envelope.open(black_box(&query), black_box(body.as_bytes())).expect("opens");
            let push = Push::parse(&opened.plaintext).expect("parses");
            black_box(push.identity());
            let reply = rules.choose(&push).expect("answers");
            let xml = reply
                .passive_xml(&push.from_user_name, &push.to_user_name, push.create_time)
                .expect("is passive");
            envelope.seal_reply(opened.key, &xml, push.create_time, "1879066412", black_box([9; 16]))
        });
    });
    let bare = BaselineProgram::new("hubToken2025", "wx00c0ffee00c0ffee", AES_KEY);
    let answer = "We are open from 9 to 18.";
    group.bench_function("whole path, a bare program", |bencher| {
        bencher.iter(|| {
            bare.respond(black_box(&query), black_box(&body), "1879066412", black_box([9; 16]), answer)
        });
    });
    group.bench_function("verify and decrypt", |bencher| {
        bencher.iter(|| envelope.open(black_box(&query), black_box(body.as_bytes())).expect("opens"));
    });
    group.bench_function("push from plaintext", |bencher| {
        bencher.iter(|| Push::parse(black_box(MESSAGE.as_bytes())).expect("parses"));
    });
    group.bench_function("XML alone", |bencher| {
        bencher.iter(|| Element::parse(black_box(MESSAGE)).expect("parses"));
    });
    group.finish();
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
