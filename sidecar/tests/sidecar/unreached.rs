//! An operator that no connection comes to.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use tokio::net::{TcpSocket, TcpStream};

use crate::support::{Plan, Pod, eventually, pass};

/// A socket that has an address and does not listen yet.
fn bound() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket
}

/// Why a container does not start whose sidecar asks there.
async fn reason(elsewhere: SocketAddr) -> String {
    let plan = Plan {
        elsewhere: Some(elsewhere),
        ..Plan::default()
    };
    let pod = Pod::planned(plan, |_| {}).await;
    pass(Duration::from_secs(6)).await;
    let tried = async || pod.get("/readyz").await.body.contains("Unavailable");
    eventually("tried", tried).await;
    pod.get("/readyz").await.detail()
}

#[tokio::test(start_paused = true)]
async fn where_packets_are_dropped_what_likely_drops_them_is_named() {
    let socket = bound();
    let address = socket.local_addr().unwrap();
    let _listener = socket.listen(0).unwrap();
    // There is room for one that nobody accepts; of the next ones the kernel drops each packet.
    let _only = TcpStream::connect(address).await.unwrap();
    assert_eq!(
        reason(address).await,
        "the operator has not said yet which tokens there are; Unavailable: connecting to the operator took longer than 5 s; where the operator's pods are Ready, a NetworkPolicy of this namespace does not let this pod out to them (docs/operations.md#the-network)"
    );
}

#[tokio::test(start_paused = true)]
async fn where_connections_are_refused_what_likely_refuses_them_is_named() {
    let socket = bound();
    let address = socket.local_addr().unwrap();
    let reason = reason(address).await;
    let cause =
        format!("Unavailable: cannot connect to {address}: Connection refused (os error 111); ");
    assert!(reason.contains(&cause), "{reason}");
    assert!(
        reason.ends_with("; where the operator's pods are Ready, a NetworkPolicy of this namespace does not let this pod out to them (docs/operations.md#the-network)"),
        "{reason}"
    );
}
