//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, ValueEnum};

use crate::{database::fault_injection, schedule};

/// A hub for WeChat Official Accounts, all of it on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "oahub", version)]
pub struct Options {
    /// Where WeChat's callbacks, the API and the pages are answered. The simulated WeChat listens on the next port, of
    /// loopback alone.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000", value_parser = parse_address)]
    pub listen: SocketAddr,
    /// Which WeChat to work with: a simulated one that is started too, or the one that the settings name.
    #[arg(long, value_enum, default_value = "simulated")]
    pub wechat: WeChatMode,
    /// Lets the simulated WeChat listen where --listen says, for phones and other machines. It asks nobody for a key:
    /// whoever reaches it commands its accounts and followers.
    #[arg(long)]
    pub expose_simulator: bool,
    /// Where the database, the queues and the simulated WeChat keep their files. A folder is for one WeChat and one
    /// platform.
    #[arg(long, value_name = "DIR", default_value = ".oahub")]
    pub data: PathBuf,
    /// Runs every schedule this often instead of as template.yaml says.
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub tick: Option<Duration>,
    /// How logs are written to standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub log: LogFormat,
    /// Limits of AWS; only tests set them.
    #[command(flatten)]
    pub aws: AwsLimits,
}

/// Limits of an AWS account, for tests that want to reach them. Hidden from the help: the defaults are AWS's own.
#[derive(Debug, Clone, Args)]
pub struct AwsLimits {
    /// Invocations at once of all functions together. New accounts have about 10.
    #[arg(long = "aws-concurrency", value_name = "N", default_value = "1000", hide = true)]
    pub concurrency: usize,
    /// Messages in flight in one queue.
    #[arg(long = "aws-in-flight", value_name = "N", default_value = "120000", hide = true)]
    pub in_flight: usize,
    /// Whether the routes' throttles of template.yaml apply; many parallel tests exceed them.
    #[arg(long = "aws-throttles", value_name = "BOOL", default_value = "true", hide = true, action = ArgAction::Set)]
    pub throttles: bool,
    /// The longest random delay of a schedule's tick.
    #[arg(long = "aws-tick-jitter", value_name = "SECONDS", default_value = "0", hide = true)]
    pub tick_jitter: u64,
    /// How many of a thousand ticks are lost.
    #[arg(long = "aws-ticks-lost", value_name = "N", default_value = "0", hide = true)]
    pub ticks_lost: u32,
    /// How many of a thousand ticks are delivered twice.
    #[arg(long = "aws-ticks-doubled", value_name = "N", default_value = "0", hide = true)]
    pub ticks_doubled: u32,
    /// Write units a second of a partition key: 1,000 on AWS, unlimited here.
    #[arg(long = "aws-partition-writes", value_name = "N", hide = true)]
    pub partition_writes: Option<u32>,
    /// Read units a second of a partition key: 3,000 on AWS, unlimited here.
    #[arg(long = "aws-partition-reads", value_name = "N", hide = true)]
    pub partition_reads: Option<u32>,
    /// How long a new item may be missing from a global index.
    #[arg(long = "aws-index-lag", value_name = "MS", default_value = "0", hide = true)]
    pub index_lag_ms: u32,
    /// For how long a transaction conflicts with other access to its items.
    #[arg(long = "aws-conflicts", value_name = "MS", default_value = "0", hide = true)]
    pub conflict_ms: u32,
    /// Serves DynamoDB and SQS on loopback ports, for functions that run as processes. These ports have no
    /// authentication.
    #[arg(long = "aws-endpoints", hide = true)]
    pub endpoints: bool,
}

/// Which WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeChatMode {
    /// A simulated one.
    Simulated,
    /// The one that the settings name.
    Live,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl AwsLimits {
    /// The faults that DynamoDB injects; none unless a test sets one.
    #[must_use]
    pub fn database_faults(&self) -> Option<fault_injection::DatabaseFaults> {
        let Self { partition_writes: writes, partition_reads: reads, index_lag_ms, conflict_ms, .. } = *self;
        let habits = fault_injection::DatabaseFaults {
            write_units_per_second: writes,
            read_units_per_second: reads,
            index_lag_ms,
            conflict_ms,
        };
        (habits != fault_injection::DatabaseFaults::default()).then_some(habits)
    }

    /// The faults of schedules.
    #[must_use]
    pub fn schedule_faults(&self) -> schedule::ScheduleFaults {
        let Self { tick_jitter, ticks_lost: lost, ticks_doubled: doubled, .. } = *self;
        schedule::ScheduleFaults {
            max_delay: Duration::from_secs(tick_jitter),
            lost_per_mille: lost,
            doubled_per_mille: doubled,
        }
    }
}

impl WeChatMode {
    /// The spelling on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Live => "live",
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.trim_start_matches(':').parse::<u16>() {
        Ok(port) => format!("an address and a port, as in 127.0.0.1:{port}"),
        Err(_) => "an address and a port, as in 127.0.0.1:3000".into(),
    })
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.05 to 86400".into()),
    }
}
