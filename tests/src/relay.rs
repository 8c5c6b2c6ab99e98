//! A TCP relay whose connections can be cut: WeChat and the network before it close idle connections too.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Forwards connections to a server.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    cuts: watch::Sender<u64>,
    open: watch::Sender<usize>,
}

impl Relay {
    /// Starts a relay to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let relay = Self { address, cuts: watch::Sender::new(0), open: watch::Sender::new(0) };
        let (cuts, open) = (relay.cuts.clone(), relay.open.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut cut, open) = (cuts.subscribe(), open.clone());
                tokio::spawn(async move {
                    open.send_modify(|open| *open += 1);
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        tokio::select! {
                            _ = cut.changed() => {}
                            _ = copy_bidirectional(&mut near, &mut far) => {}
                        }
                    }
                    drop(near);
                    open.send_modify(|open| *open -= 1);
                });
            }
        });
        relay
    }

    /// Closes every open connection and waits until they are closed; returns how many there were.
    pub async fn cut(&self) -> usize {
        let stood = *self.open.borrow();
        self.cuts.send_modify(|cuts| *cuts += 1);
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
        stood
    }
}
