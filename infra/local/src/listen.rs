//! Where the local program listens.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use shared::config::{MIN_ADMIN_KEY_CHARS, SIMULATED_ADMIN_KEY};
use thiserror::Error;
use tokio::net::TcpListener;

use crate::options::WeChatMode;

/// Attempts to find two adjacent free ports, where the port was left open.
const MAX_PORT_PAIR_TRIES: u32 = 20;

/// Why the program cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The gateway's address.
    #[error("address {address}: {error}")]
    Gateway {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The simulated WeChat's.
    #[error(
        "the simulated WeChat listens on the port after --listen's, and {address} is not free ({error}): choose another --listen"
    )]
    WeChat {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The gateway has the last port, so there is none after it.
    #[error(
        "the simulated WeChat listens on the port after --listen's, and {0} is the last there is: choose another --listen"
    )]
    NoNextPort(u16),
    /// The operator's key is weak, and other machines could use it.
    #[error(
        "--listen {address} can be reached from other machines: set {name} to a key of your own of at least 32 random characters, or listen on 127.0.0.1"
    )]
    WeakAdminKey {
        /// Which address.
        address: SocketAddr,
        /// The setting with the weak key.
        name: &'static str,
    },
}

/// Refuses a simulated deployment that other machines can reach while its operator's key is public or easy to guess.
/// The settings of a live deployment are checked elsewhere. `get` reads the process's environment.
///
/// # Errors
/// The key is weak.
pub fn reject_weak_admin_key(
    address: SocketAddr,
    wechat: WeChatMode,
    get: impl Fn(&str) -> Option<String>,
) -> Result<(), ListenError> {
    if wechat == WeChatMode::Live || address.ip().is_loopback() {
        return Ok(());
    }
    let weak = |key: &str| key.chars().count() < MIN_ADMIN_KEY_CHARS || key == SIMULATED_ADMIN_KEY;
    let current = get("OAHUB_ADMIN_KEY").is_none_or(|key| weak(&key));
    let previous = get("OAHUB_ADMIN_KEY_PREVIOUS").is_some_and(|key| !key.is_empty() && weak(&key));
    match (current, previous) {
        (true, _) => Err(ListenError::WeakAdminKey { address, name: "OAHUB_ADMIN_KEY" }),
        (_, true) => Err(ListenError::WeakAdminKey { address, name: "OAHUB_ADMIN_KEY_PREVIOUS" }),
        _ => Ok(()),
    }
}

/// Opens the gateway's port and, in a simulated deployment, the next port for the simulated WeChat. That one has no
/// authentication, so it is on loopback unless `exposed`.
///
/// # Errors
/// One of the two ports is not available.
pub async fn listen(
    address: SocketAddr,
    wechat: WeChatMode,
    exposed: bool,
) -> Result<(TcpListener, Option<TcpListener>), ListenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let refuse = |error| ListenError::Gateway { address, error };
        let gateway = TcpListener::bind(address).await.map_err(refuse)?;
        if wechat == WeChatMode::Live {
            return Ok((gateway, None));
        }
        let own = gateway.local_addr().map_err(refuse)?;
        match bind_next_port(own, exposed).await {
            Ok(beside) => return Ok((gateway, Some(beside))),
            Err(_) if address.port() == 0 && tries < MAX_PORT_PAIR_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

async fn bind_next_port(gateway: SocketAddr, exposed: bool) -> Result<TcpListener, ListenError> {
    let port = gateway.port().checked_add(1).ok_or(ListenError::NoNextPort(gateway.port()))?;
    let ip = match gateway.ip() {
        ip if exposed || ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.map_err(|error| ListenError::WeChat { address, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_set_up_is_open_to_this_machine_alone() {
        let (long, short) = ("k".repeat(MIN_ADMIN_KEY_CHARS), "k".repeat(MIN_ADMIN_KEY_CHARS - 1));
        for (what, address, wechat, key, previous, wrong) in [
            ("loopback", "127.0.0.1:1", WeChatMode::Simulated, None, None, None),
            ("loopback with a short key", "127.0.0.1:1", WeChatMode::Simulated, Some("a"), None, None),
            ("loopback's other address", "[::1]:1", WeChatMode::Simulated, None, None, None),
            ("all addresses", "0.0.0.0:1", WeChatMode::Simulated, None, None, Some("OAHUB_ADMIN_KEY ")),
            ("all of the other kind", "[::]:1", WeChatMode::Simulated, None, None, Some("OAHUB_ADMIN_KEY ")),
            (
                "one that others reach",
                "192.168.7.1:1",
                WeChatMode::Simulated,
                None,
                None,
                Some("OAHUB_ADMIN_KEY "),
            ),
            ("an empty key", "0.0.0.0:1", WeChatMode::Simulated, Some(""), None, Some("OAHUB_ADMIN_KEY ")),
            ("one letter", "0.0.0.0:1", WeChatMode::Simulated, Some("a"), None, Some("OAHUB_ADMIN_KEY ")),
            (
                "one too few",
                "0.0.0.0:1",
                WeChatMode::Simulated,
                Some(&*short),
                None,
                Some("OAHUB_ADMIN_KEY "),
            ),
            (
                "everybody's",
                "0.0.0.0:1",
                WeChatMode::Simulated,
                Some(SIMULATED_ADMIN_KEY),
                None,
                Some("OAHUB_ADMIN_KEY "),
            ),
            ("an operator's own key", "0.0.0.0:1", WeChatMode::Simulated, Some(&*long), None, None),
            ("with one of before", "0.0.0.0:1", WeChatMode::Simulated, Some(&*long), Some(&*long), None),
            ("with none of before", "0.0.0.0:1", WeChatMode::Simulated, Some(&*long), Some(""), None),
            (
                "with a short one of before",
                "0.0.0.0:1",
                WeChatMode::Simulated,
                Some(&*long),
                Some("a"),
                Some("OAHUB_ADMIN_KEY_PREVIOUS "),
            ),
            ("a real set-up, whose settings are held to it", "0.0.0.0:1", WeChatMode::Live, None, None, None),
        ] {
            let get = |name: &str| if name == "OAHUB_ADMIN_KEY" { key } else { previous }.map(str::to_owned);
            let said = reject_weak_admin_key(address.parse().unwrap(), wechat, get)
                .map_err(|error| error.to_string());
            match wrong {
                Some(name) => assert!(said.unwrap_err().contains(name), "{what}"),
                None => assert_eq!(said, Ok(()), "{what}"),
            }
        }
    }

    #[tokio::test]
    async fn the_simulated_wechat_is_reached_from_elsewhere_only_where_that_was_asked_for() {
        for (address, exposed, loopback) in
            [("0.0.0.0:0", false, true), ("0.0.0.0:0", true, false), ("127.0.0.1:0", true, true)]
        {
            let (gateway, wechat) =
                listen(address.parse().unwrap(), WeChatMode::Simulated, exposed).await.unwrap();
            let (gateway, wechat) = (gateway.local_addr().unwrap(), wechat.unwrap().local_addr().unwrap());
            assert_eq!(
                (wechat.ip().is_loopback(), wechat.port()),
                (loopback, gateway.port() + 1),
                "{address}"
            );
        }
    }

    #[tokio::test]
    async fn the_simulated_wechat_has_the_next_port_or_the_start_says_so() {
        let (gateway, wechat) =
            listen("127.0.0.1:0".parse().unwrap(), WeChatMode::Simulated, false).await.unwrap();
        let (first, second) = (gateway.local_addr().unwrap(), wechat.unwrap().local_addr().unwrap());
        assert_eq!(second.port(), first.port() + 1);
        drop(gateway);
        let taken = TcpListener::bind(second).await.unwrap();
        let error = listen(first, WeChatMode::Simulated, false).await.unwrap_err();
        assert!(error.to_string().contains(&second.to_string()), "{error}");
        assert!(listen(first, WeChatMode::Live, false).await.is_ok(), "a real one needs no second port");
        drop(taken);
        let last = bind_next_port("127.0.0.1:65535".parse().unwrap(), false).await.unwrap_err();
        assert!(last.to_string().contains("65535 is the last"), "{last}");
    }
}
