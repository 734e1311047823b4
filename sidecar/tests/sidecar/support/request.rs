//! A plain HTTP client on a unix socket.

use std::path::Path;

use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::in_time;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The code of a problem document.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.json()["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// `GET` with some headers.
pub(crate) async fn get(socket: &Path, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(target).header("host", "hallpass");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(socket, request.body(Full::default()).unwrap()).await
}

/// Any request.
pub(crate) async fn send(socket: &Path, request: Request<Full<Bytes>>) -> Answer {
    let answer = async {
        let (parts, body) = open(socket, request).await.into_parts();
        (parts, body.collect().await.unwrap().to_bytes())
    };
    let (parts, body) = in_time(answer).await;
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Any request, its answer's body still to come.
pub(crate) async fn open(socket: &Path, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
    let stream = UnixStream::connect(socket).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender.send_request(request).await.unwrap()
}
