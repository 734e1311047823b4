//! A request that lies in a replica's socket before that reads it.

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{api::OperatorApi, pod::Answer};

/// A connection with a request on it, as far as it has come.
pub struct Request(TlsStream<TcpStream>);

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Request")
    }
}

impl Request {
    /// Shakes hands, and says nothing yet.
    ///
    /// # Errors
    /// There is no connection to be had.
    pub async fn prepare(api: &OperatorApi) -> Result<Self> {
        Ok(Self(api.connect().await?))
    }

    /// Sends `POST /v1/tokens` for that name, whether anybody reads it or not.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn tokens(&mut self, identity: &str, name: &str) -> Result<()> {
        let body = json!({ "names": [name] }).to_string();
        let request = format!(
            "POST /v1/tokens HTTP/1.1\r\nHost: hallpass\r\nConnection: close\r\n\
             Authorization: Bearer {identity}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).await?;
        self.0.flush().await.context("send a request")
    }

    /// The answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn answer(mut self) -> Result<Answer> {
        let mut text = String::new();
        // some end a connection of TLS without a farewell
        if let Err(why) = self.0.read_to_string(&mut text).await
            && text.is_empty()
        {
            return Err(why).context("read the answer");
        }
        let (head, body) = text.split_once("\r\n\r\n").context("an answer")?;
        let status = head.split(' ').nth(1).context("a status")?;
        Ok(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        })
    }
}
