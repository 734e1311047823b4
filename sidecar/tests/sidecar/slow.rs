//! Clients that hold a connection for nothing.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::support::{Pod, eventually, in_time, pass};

/// What has come on that connection; [`None`] while nothing has and more may.
fn heard(stream: &UnixStream) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut part = [0; 4096];
        match stream.try_read(&mut part) {
            Ok(0) => return Some(all),
            Ok(read) => all.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return (!all.is_empty()).then_some(all);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t39_a_client_that_is_silent_is_cut_off_after_a_minute() {
    let pod = Pod::with_tokens(&["vault"]).await;
    for said in [
        "",
        "GET /healthz HTT",
        "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        let mut stream = UnixStream::connect(pod.socket("app")).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        if said.ends_with("\r\n\r\n") {
            eventually("answered", async || {
                heard(&stream).is_some_and(|answer| answer.ends_with(b"ok\n"))
            })
            .await;
        }
        pass(Duration::from_secs(59)).await;
        assert_eq!(heard(&stream), None, "{said}");
        pass(Duration::from_secs(2)).await;
        eventually("cut off", async || heard(&stream) == Some(Vec::new())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t39_a_client_that_does_not_read_its_answers_is_cut_off_after_ten_seconds() {
    let pod = Pod::with_tokens(&["vault"]).await;
    let stream = UnixStream::connect(pod.socket("app")).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
    // Until nothing goes in for a while: then no answer goes out either.
    let mut full = 0;
    while full < 1000 {
        match stream.try_write(request) {
            Ok(_) => full = 0,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                full += 1;
                tokio::task::yield_now().await;
            }
        }
    }
    let stuck = |error: io::Error| error.kind();
    pass(Duration::from_secs(9)).await;
    assert_eq!(
        stream.try_write(request).map_err(stuck),
        Err(io::ErrorKind::WouldBlock)
    );
    pass(Duration::from_secs(2)).await;
    let gone = async || stream.try_write(request).map_err(stuck) == Err(io::ErrorKind::BrokenPipe);
    eventually("cut off", gone).await;
}

#[tokio::test(start_paused = true)]
async fn t39_a_head_larger_than_sixteen_kibibytes_is_refused() {
    let pod = Pod::with_tokens(&["vault"]).await;
    for (size, status) in [(15 * 1024, "200"), (17 * 1024, "431")] {
        let mut stream = UnixStream::connect(pod.socket("app")).await.unwrap();
        let padding = "x".repeat(size);
        let head = format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\npadding: {padding}\r\n\r\n"
        );
        let mut answer = Vec::new();
        in_time(async {
            // It may be closed before all of it is written.
            drop(stream.write_all(head.as_bytes()).await);
            drop(stream.read_to_end(&mut answer).await);
        })
        .await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}
