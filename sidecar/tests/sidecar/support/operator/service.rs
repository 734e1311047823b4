//! What stands before the replicas on a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{super::clock::TestClock, FakeOperator};

/// An address where whatever arrives is dropped: the queue of connections that nobody takes is full.
pub(crate) struct Dead {
    _listener: TcpListener,
    _waiting: TcpStream,
}

/// Two listeners on one port, as those of two pods whose name has both addresses.
pub(super) async fn same_port() -> [TcpListener; 2] {
    loop {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        // Somebody else may have that port at the other address.
        if let Ok(second) = TcpListener::bind((OTHER, port)).await {
            return [first, second];
        }
    }
}

impl FakeOperator {
    /// One that answers at the first address, and whose packets to the second one are dropped.
    pub(crate) async fn half_dead(clock: TestClock, [live, dead]: [IpAddr; 2]) -> (Self, Dead) {
        loop {
            let operator = Self::at(live, clock.clone(), Timestamp::UNIX_EPOCH).await;
            let port = operator.addresses[0].port();
            if let Some(dead) = Dead::at((dead, port).into()).await {
                return (operator, dead);
            }
        }
    }
}

impl Dead {
    /// One at that address, unless somebody else has it.
    pub(super) async fn at(address: SocketAddr) -> Option<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.unwrap();
        socket.bind(address).ok()?;
        let listener = socket.listen(0).unwrap();
        Some(Self {
            _waiting: TcpStream::connect(address).await.unwrap(),
            _listener: listener,
        })
    }
}

/// An address of its own that leads to that replica.
pub(super) async fn service(replica: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            let mut to = TcpStream::connect(replica).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    address
}

/// All of these lead to the machine itself.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
