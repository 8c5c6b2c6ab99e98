//! Where the local program listens.

use std::{io, net::SocketAddr};

use thiserror::Error;
use tokio::net::TcpListener;

use crate::options::WeChat;

/// Tries to find two free ports side by side, where any will do.
const TRIES: u32 = 20;

/// Why it does not.
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
    /// There is no port after this one.
    #[error(
        "the simulated WeChat listens on the port after --listen's, and {0} is the last there is: choose another --listen"
    )]
    Last(u16),
    /// Whoever reaches it would be the operator.
    #[error(
        "--listen {0} can be reached from other machines, where the simulated set-up's operator's key is known to everybody: set OAHUB_ADMIN_KEY to one of your own, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
}

/// Refuses a simulated set-up that other machines reach with a key that everybody knows.
///
/// # Errors
/// It would be one.
pub fn check(address: SocketAddr, wechat: WeChat, own_key: bool) -> Result<(), ListenError> {
    let open = wechat == WeChat::Simulated && !address.ip().is_loopback() && !own_key;
    if open { Err(ListenError::Open(address)) } else { Ok(()) }
}

/// Listens: the gateway, and beside it the simulated WeChat where there is one.
///
/// # Errors
/// One of both ports is not to be had.
pub async fn listen(
    address: SocketAddr,
    wechat: WeChat,
) -> Result<(TcpListener, Option<TcpListener>), ListenError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let refuse = |error| ListenError::Gateway { address, error };
        let gateway = TcpListener::bind(address).await.map_err(refuse)?;
        if wechat == WeChat::Live {
            return Ok((gateway, None));
        }
        let own = gateway.local_addr().map_err(refuse)?;
        match beside(own).await {
            Ok(beside) => return Ok((gateway, Some(beside))),
            Err(_) if address.port() == 0 && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

async fn beside(gateway: SocketAddr) -> Result<TcpListener, ListenError> {
    let port = gateway.port().checked_add(1).ok_or(ListenError::Last(gateway.port()))?;
    let address = SocketAddr::new(gateway.ip(), port);
    TcpListener::bind(address).await.map_err(|error| ListenError::WeChat { address, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_set_up_is_open_to_this_machine_alone() {
        for (what, address, wechat, own_key, fine) in [
            ("loopback", "127.0.0.1:1", WeChat::Simulated, false, true),
            ("loopback's other address", "[::1]:1", WeChat::Simulated, false, true),
            ("all addresses", "0.0.0.0:1", WeChat::Simulated, false, false),
            ("one that others reach", "192.168.7.1:1", WeChat::Simulated, false, false),
            ("with an operator's own key", "0.0.0.0:1", WeChat::Simulated, true, true),
            ("a real set-up, which has one", "0.0.0.0:1", WeChat::Live, true, true),
        ] {
            assert_eq!(check(address.parse().unwrap(), wechat, own_key).is_ok(), fine, "{what}");
        }
    }

    #[tokio::test]
    async fn the_simulated_wechat_has_the_next_port_or_the_start_says_so() {
        let (gateway, wechat) = listen("127.0.0.1:0".parse().unwrap(), WeChat::Simulated).await.unwrap();
        let (first, second) = (gateway.local_addr().unwrap(), wechat.unwrap().local_addr().unwrap());
        assert_eq!(second.port(), first.port() + 1);
        drop(gateway);
        let taken = TcpListener::bind(second).await.unwrap();
        let error = listen(first, WeChat::Simulated).await.unwrap_err();
        assert!(error.to_string().contains(&second.to_string()), "{error}");
        assert!(listen(first, WeChat::Live).await.is_ok(), "a real one needs no second port");
        drop(taken);
        let last = beside("127.0.0.1:65535".parse().unwrap()).await.unwrap_err();
        assert!(last.to_string().contains("65535 is the last"), "{last}");
    }
}
