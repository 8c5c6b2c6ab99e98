//! What a function under test gets.

use std::sync::Arc;

use aws_credential_types::Credentials;
use shared::{
    aws::AwsClients,
    clock::ManualClock,
    config::Config,
    random::StdRandom,
    services::{Dependencies, Services},
    wechat::transport::Transport,
};

/// Services on `clock` that draw from `seed` and call WeChat by `transport`.
pub fn services(
    config: Config,
    clock: &ManualClock,
    seed: u64,
    transport: Arc<dyn Transport>,
) -> Arc<Services> {
    let dependencies = Dependencies {
        clock: Arc::new(clock.clone()),
        random: Arc::new(StdRandom::seeded(seed)),
        transport,
        aws: AwsClients::new(&config.resources, Credentials::new("a", "b", None, None, "test")),
    };
    Services::new(config, dependencies).unwrap()
}
