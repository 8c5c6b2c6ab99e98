//! How long the store's busiest requests take: from the SDK's call to the embedded database's file and
//! back, in this process.
#![expect(clippy::expect_used, reason = "a bench may fail loudly")]

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::try_join;
use local::{
    database::{Database, tables::create_tables},
    environment::{self, Addresses},
    in_process_http::InProcessHttp,
    options::WeChatMode,
    template,
};
use local_sqs::Sqs;
use shared::{
    clock::SystemClock,
    config::{Config, Need, RunMode},
    model::{event::StoredEvent, fan::FanId, push_decision::FanActivity},
    random::StdRandom,
    store::{Store, fans::FanDetails},
    wechat::user::UserInfo,
};
use tokio::runtime::Runtime;

const NOW: i64 = 1_767_225_600;
/// Fans who write in turn.
const FANS: u64 = 10_000;

struct StoreBench {
    runtime: Runtime,
    store: Store,
    next: u64,
}

impl StoreBench {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("oahub-store-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let template = template::parse(template::TEMPLATE).expect("the template is right");
        let nowhere = ([127, 0, 0, 1], 1).into();
        let addresses = Addresses { gateway: nowhere, aws: None, wechat: Some(nowhere) };
        let environment =
            environment::for_all_functions(WeChatMode::Simulated, &addresses, &template, |_| None);
        let config = Config::load(Need::ALL, RunMode::Simulated, |name| environment.get(name).cloned());
        let config = config.expect("the settings are right");
        let runtime = Runtime::new().expect("a runtime");
        let database = Database::open(&directory).expect("a database");
        let clock = Arc::new(SystemClock);
        let sqs = Sqs::open(None, clock.clone(), Arc::new(StdRandom::from_system().expect("randomness")))
            .expect("queues");
        let aws = InProcessHttp::new(&database, &sqs).clients(&config.resources);
        runtime.block_on(create_tables(&aws.dynamodb, &template.tables)).expect("tables");
        let _ = std::fs::remove_dir_all(&directory); // open files stay until we end
        Self {
            runtime,
            store: Store::new(
                aws.dynamodb,
                &config,
                clock,
                Arc::new(StdRandom::from_system().expect("randomness")),
            ),
            next: 0,
        }
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What message-callback writes for one text message.
    fn store_callback(&mut self) {
        let number = self.next_number();
        let open_id = format!("oHub0aBcDeFgHiJkLmNo{:08}", number % FANS);
        let fan = FanId {
            tenant: "ten_01jd3v6m5s8qk2x9w4r7t0y1za",
            app_id: "wx5a1b2c3d4e5f6071",
            open_id: &open_id,
        };
        let event = StoredEvent {
            identity: format!("M{number}"),
            kind: "message_received".into(),
            at: NOW,
            app_id: fan.app_id.into(),
            open_id: open_id.clone(),
            detail: format!(
                r#"{{"ToUserName":"gh_7b1c9d2e4f60","FromUserName":"{open_id}","CreateTime":"{NOW}","MsgType":"text","Content":"opening hours?","MsgId":"{number}"}}"#
            ),
            reply: Some("<xml>a reply of some two hundred bytes, as a text message has it</xml>".repeat(3)),
            sends: None,
        };
        let store = &self.store;
        let writes = async {
            try_join(
                store.timeline().insert_once(fan, &event),
                store.fans().record_activity(fan, &FanActivity::Message, NOW, "M1"),
            )
            .await
        };
        self.runtime.block_on(writes).expect("is stored");
    }

    /// What follower-import writes for a hundred new followers.
    fn import_hundred(&mut self) {
        let infos: Vec<_> = (0..100)
            .map(|_| UserInfo {
                subscribe: Some(1),
                openid: format!("oNew0{:024x}", self.next_number().wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                subscribe_time: Some(NOW),
                subscribe_scene: "ADD_SCENE_QR_CODE".into(),
                language: "zh_CN".into(),
                ..UserInfo::default()
            })
            .collect();
        let details: Vec<_> =
            infos.iter().map(|info| FanDetails { info, as_of: NOW, import_id: Some("imp_1") }).collect();
        let write =
            self.store.fans().insert("ten_01jd3v6m5s8qk2x9w4r7t0y1za", "wx5a1b2c3d4e5f6071", &details);
        let new = self.runtime.block_on(write).expect("are stored");
        assert!(new.iter().all(|new| *new), "somebody was there");
    }
}

fn store(criterion: &mut Criterion) {
    let mut bench = StoreBench::new();
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a callback's event and fan", |bencher| bencher.iter(|| bench.store_callback()));
    group.throughput(Throughput::Elements(100));
    group.sample_size(20);
    group.bench_function("a hundred new followers", |bencher| bencher.iter(|| bench.import_hundred()));
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
