//! What a handler works with: settings, time, randomness, store, queues and WeChat, each built once.

use std::sync::Arc;

use aws_credential_types::Credentials;
use thiserror::Error;

use crate::{
    aws::AwsClients,
    clock::{Clock, SystemClock},
    config::{Config, ConfigError, Need},
    envelope::Envelope,
    metrics::Metrics,
    queue::Queues,
    random::{Random, RandomnessError, StdRandom},
    store::Store,
    wechat::{self, transport::Transport},
};

/// Everything that a handler may use.
pub struct Services {
    /// Settings.
    pub config: Config,
    /// Decrypts callbacks and encrypts replies; without keys it refuses everything.
    pub envelope: Envelope,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// DynamoDB.
    pub store: Store,
    /// SQS.
    pub queues: Queues,
    /// WeChat's server API.
    pub wechat: wechat::Client,
    /// CloudWatch.
    pub metrics: Metrics,
}

/// What the local runner and the simulation tests replace by their own.
pub struct Dependencies {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How WeChat is reached.
    pub transport: Arc<dyn Transport>,
    /// How DynamoDB and SQS are reached.
    pub aws: AwsClients,
}

/// Why a function does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Settings are missing or malformed.
    #[error("{0}")]
    Settings(#[from] ConfigError),
    /// The operating system gives no randomness.
    #[error("{0}")]
    Randomness(#[from] RandomnessError),
}

impl Services {
    /// Builds the services of a function from Lambda's environment, of which
    /// it reads what `needs` names. `transport` is how it reaches WeChat.
    ///
    /// # Errors
    /// Every setting that is missing or malformed, or that there is no randomness.
    #[expect(clippy::disallowed_methods, reason = "Lambda's own credentials, not a setting of ours")]
    pub fn from_env(needs: &[Need], transport: Arc<dyn Transport>) -> Result<Arc<Self>, StartError> {
        let config = Config::from_env(needs)?;
        let env = |name: &str| std::env::var(name).unwrap_or_default();
        let credentials = Credentials::new(
            env("AWS_ACCESS_KEY_ID"),
            env("AWS_SECRET_ACCESS_KEY"),
            Some(env("AWS_SESSION_TOKEN")).filter(|token| !token.is_empty()),
            None,
            "environment",
        );
        let aws = AwsClients::new(&config.resources, credentials);
        let random = Arc::new(StdRandom::from_system()?);
        Ok(Self::new(config, Dependencies { clock: Arc::new(SystemClock), random, transport, aws })?)
    }

    /// Builds the services from dependencies that the caller chooses.
    ///
    /// # Errors
    /// The AES keys do not decode.
    pub fn new(config: Config, dependencies: Dependencies) -> Result<Arc<Self>, ConfigError> {
        Ok(Arc::new(Self {
            envelope: Envelope::new(&config.component)?,
            store: Store::new(
                dependencies.aws.dynamodb,
                &config,
                Arc::clone(&dependencies.clock),
                Arc::clone(&dependencies.random),
            ),
            queues: Queues::new(dependencies.aws.sqs, &config.resources),
            wechat: wechat::Client::new(dependencies.transport, config.wechat_api_url.clone()),
            metrics: Metrics::new(config.resources.stack.clone()),
            clock: dependencies.clock,
            random: dependencies.random,
            config,
        }))
    }

    /// A fresh id with `prefix`.
    #[must_use]
    pub fn fresh_id(&self, prefix: &str) -> String {
        crate::ids::fresh(prefix, &*self.clock, &*self.random)
    }
}
