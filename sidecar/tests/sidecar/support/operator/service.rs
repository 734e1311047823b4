//! What stands before the replicas on a cluster.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

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
