use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{advance, timeout},
};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

fn paced() -> (Paced<DuplexStream>, DuplexStream, Arc<Pace>) {
    let (near, far) = duplex(64);
    let pace = Arc::new(Pace::default());
    (Paced::new(near, Arc::clone(&pace), LIMIT), far, pace)
}

async fn read(stream: &mut Paced<DuplexStream>) -> io::Result<usize> {
    stream.read(&mut [0; 8]).await
}

#[tokio::test(start_paused = true)]
async fn the_first_head_has_a_deadline_from_the_beginning() {
    let (mut stream, _far, _) = paced();
    let started = Instant::now();
    assert_eq!(
        read(&mut stream).await.unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(started.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_trickles_is_cut_off_though_bytes_still_come() {
    let (mut stream, mut far, _) = paced();
    for second in 1..=5 {
        far.write_all(b"x").await.unwrap();
        advance(Duration::from_secs(1)).await;
        let read = read(&mut stream).await;
        assert_eq!(read.is_ok(), second < 5, "after {second} s");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_between_requests_is_no_slow_head() {
    let (mut stream, mut far, pace) = paced();
    far.write_all(b"head").await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), 4);
    pace.serve();
    assert!(
        timeout(Duration::from_secs(60), read(&mut stream))
            .await
            .is_err()
    );
    pace.rest();
    assert!(
        timeout(Duration::from_secs(60), read(&mut stream))
            .await
            .is_err()
    );
    far.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut stream).await.unwrap(), 1);
    let started = Instant::now();
    assert_eq!(
        read(&mut stream).await.unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
    assert_eq!(started.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn writes_and_the_end_of_the_stream_go_through() {
    let (mut stream, mut far, pace) = paced();
    stream.write_all(b"answer").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 6];
    far.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
    pace.serve();
    drop(far);
    assert_eq!(read(&mut stream).await.unwrap(), 0);
}
