//! The simulator alone: `cargo run -p wechat-simulator --example serve [HUB_URL]`.
//!
//! Without a hub, pushes fail and the page shows it.

use std::error::Error;
use std::sync::Arc;

use shared::clock::SystemClock;
use shared::config::PlatformCredentials;
use shared::random::StdRandom;
use shared::secret::Secret;
use wechat_simulator::{HttpHub, Simulator, SimulatorDependencies, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub_url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:3000".into());
    let simulator = Simulator::demo(SimulatorDependencies {
        component: PlatformCredentials {
            app_id: "wx00c0ffee00c0ffee".into(),
            app_secret: Secret::new("0123456789abcdef0123456789abcdef"),
            token: Secret::new("simulated"),
            aes_key: Secret::new("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"),
            ..PlatformCredentials::default()
        },
        hub_url,
        clock: Arc::new(SystemClock),
        random: Arc::new(StdRandom::from_system()?),
        hub: Arc::new(HttpHub::new()?),
    })?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3210").await?;
    println!("http://{}", listener.local_addr()?);
    serve(listener, simulator, async {
        let _ = tokio::signal::ctrl_c().await;
    })
    .await?;
    Ok(())
}
