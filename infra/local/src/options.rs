//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum};

/// A hub for WeChat Official Accounts, all of it on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "oahub", version)]
pub struct Options {
    /// Where WeChat's callbacks, the API and the pages are answered.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Which WeChat to work with: a simulated one that is started too, or the one that the settings name.
    #[arg(long, value_enum, default_value = "simulated")]
    pub wechat: WeChat,
    /// Where the database keeps its file.
    #[arg(long, value_name = "DIR", default_value = ".oahub")]
    pub data: PathBuf,
    /// Runs every schedule this often instead of as template.yaml says.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub tick: Option<Duration>,
    /// How logs are written to standard error.
    #[arg(long, value_enum, default_value = "text")]
    pub log: Log,
    /// What AWS is like; only tests say it.
    #[command(flatten)]
    pub aws: Aws,
}

/// Limits of an AWS account, for tests that want to meet them. None is shown in the help: the program's own are AWS's.
#[derive(Debug, Clone, Args)]
pub struct Aws {
    /// Invocations at once of all functions together. New accounts have about 10.
    #[arg(long = "aws-concurrency", value_name = "N", default_value = "1000", hide = true)]
    pub concurrency: usize,
    /// Messages in flight in one queue.
    #[arg(long = "aws-in-flight", value_name = "N", default_value = "120000", hide = true)]
    pub in_flight: usize,
}

/// Which WeChat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeChat {
    /// A simulated one.
    Simulated,
    /// The one that the settings name.
    Live,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Log {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.05..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("a number of seconds from 0.05 to 86400".into()),
    }
}
