//! Who is slow, or silent, or does not listen, loses the connection, and nobody else does.

use std::{io, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{api::OperatorApi, caller::Caller};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, interval, timeout},
};

/// Longer than any patience of the operator.
const BOUND: Duration = Duration::from_secs(30);

/// As often as one pod may look for as long as this takes.
const LOOK: Duration = Duration::from_millis(500);

#[tokio::test]
async fn t39_slow_callers_are_cut_off_and_others_are_served_meanwhile() -> Result<()> {
    let Caller {
        cluster: _cluster,
        api,
        identity,
        ..
    } = Caller::new("slow").await?;
    let slow = async {
        tokio::try_join!(
            silent(&api),
            slow_head(&api),
            slow_body(&api, &identity),
            deaf(&api)
        )
    };
    tokio::pin!(slow);
    let mut served = 0;
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            ended = &mut slow => {
                ended?;
                break;
            }
            answer = async { look.tick().await; api.assignments(&identity).await } => {
                assert_eq!(answer?.status, 200);
                served += 1;
            }
        }
    }
    assert!(served > 0, "others were served meanwhile");
    Ok(())
}

/// Never begins to shake hands.
async fn silent(api: &OperatorApi) -> Result<()> {
    let mut stream = api.dial().await?;
    let said = timeout(BOUND, ended(&mut stream))
        .await
        .context("a silent caller is kept")?;
    assert_eq!(said, "");
    Ok(())
}

/// Sends a byte of a header now and then.
async fn slow_head(api: &OperatorApi) -> Result<()> {
    let mut stream = api.connect().await?;
    stream
        .write_all(b"GET /v1/assignments HTTP/1.1\r\nHost: hallpass\r\nX-Slow: ")
        .await?;
    trickle(&mut stream).await.context("a slow head is borne")?;
    Ok(())
}

/// Sends a byte of a body now and then, with a good bearer.
async fn slow_body(api: &OperatorApi, identity: &str) -> Result<()> {
    let mut stream = api.connect().await?;
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: hallpass\r\nAuthorization: Bearer {identity}\r\nContent-Length: 10000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await?;
    let said = trickle(&mut stream).await.context("a slow body is borne")?;
    ensure!(
        said.starts_with("HTTP/1.1 400") && said.contains("MalformedRequest"),
        "{said}"
    );
    Ok(())
}

/// Asks on and on and takes no answer.
async fn deaf(api: &OperatorApi) -> Result<()> {
    let stream = api.connect().await?;
    let (_answers, mut requests) = tokio::io::split(stream);
    let request = b"GET /nowhere HTTP/1.1\r\nHost: hallpass\r\n\r\n".repeat(100);
    let ask = async {
        loop {
            if let Err(why) = requests.write_all(&request).await {
                return why.kind();
            }
        }
    };
    let why = timeout(BOUND, ask).await.context("a deaf caller is kept")?;
    let cut = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
    ensure!(cut.contains(&why), "{why:?}");
    Ok(())
}

/// Sends a byte twice a second until the other side has ended the connection; what that said.
async fn trickle(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<String> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let begun = Instant::now();
    let mut beat = interval(Duration::from_millis(500));
    let answer = ended(&mut reader);
    tokio::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            _ = beat.tick() => {
                ensure!(begun.elapsed() < BOUND, "not cut off");
                // that it fails is seen by the reader
                drop(writer.write_all(b"x").await);
                drop(writer.flush().await);
            }
        }
    }
}

/// What was said until the connection ended, well or badly.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut said = Vec::new();
    // a connection that was cut off ends with an error: that is what is waited for
    drop(stream.read_to_end(&mut said).await);
    String::from_utf8_lossy(&said).into_owned()
}
