//! The readers over real sockets, and the jury before planted faults.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::{
    verdict::{Fault, between, judge},
    *,
};
use crate::wait::until;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000_000 + (seconds * 1000.0) as i64).unwrap()
}

fn read(seconds: f64, outcome: Outcome) -> Read {
    Read {
        source: "orders/short".into(),
        begun: at(seconds),
        took: Duration::from_millis(2),
        outcome,
    }
}

fn served(seconds: f64, expires: f64) -> Read {
    let outcome = Outcome::Served {
        expires: at(expires),
        digest: expires.to_bits(),
    };
    read(seconds, outcome)
}

fn refused(seconds: f64) -> Read {
    let outcome = Outcome::Refused {
        status: 503,
        code: "Expired".to_owned(),
    };
    read(seconds, outcome)
}

/// What the jury finds in these.
fn faults(reads: &[Read]) -> Vec<Fault> {
    let violations = judge(reads).violations;
    violations.into_iter().map(|found| found.fault).collect()
}

#[test]
fn reads_that_are_served_in_time_are_clean() {
    let reads: Vec<Read> = (0..100)
        .map(|i| served(f64::from(i) / 5.0, if i < 50 { 12.0 } else { 40.0 }))
        .collect();
    let verdict = judge(&reads);
    verdict.all_served().unwrap();
    assert_eq!(
        (verdict.reads, verdict.served, verdict.tokens),
        (100, 100, 2)
    );
    assert!(verdict.longest_without < Duration::from_millis(300));
    assert_eq!(verdict.most, Duration::from_millis(2));
}

#[test]
fn a_planted_expired_token_is_found() {
    let reads = [served(0.0, 1.0), served(1.0, 1.0), served(2.5, 1.0)];
    let expired = |seconds| Fault::Expired { seconds };
    assert_eq!(faults(&reads), [expired(0), expired(1)]);
    let said = judge(&reads).clean().unwrap_err().to_string();
    assert!(said.contains("Expired { seconds: 1 }"), "{said}");
}

#[test]
fn a_planted_gap_while_a_token_was_valid_is_found() {
    let reads = [served(0.0, 30.0), refused(1.0), served(2.0, 30.0)];
    let failed = Fault::Failed {
        left: 29,
        outcome: refused(1.0).outcome,
    };
    assert_eq!(faults(&reads), [failed]);
}

#[test]
fn no_answer_at_all_is_a_gap_as_well() {
    let broken = Outcome::Broken("connect: no such file".to_owned());
    let reads = [served(0.0, 30.0), read(1.0, broken.clone())];
    let failed = Fault::Failed {
        left: 29,
        outcome: broken,
    };
    assert_eq!(faults(&reads), [failed]);
}

#[test]
fn a_refusal_after_the_end_of_the_token_is_none_and_counts_as_not_served() {
    let reads = [served(0.0, 1.0), refused(1.5), served(3.0, 40.0)];
    let verdict = judge(&reads);
    verdict.clean().unwrap();
    let said = verdict.all_served().unwrap_err().to_string();
    assert!(said.contains("reads failed: 3 reads, 2 served"), "{said}");
    assert_eq!(verdict.longest_without, Duration::from_secs(3));
}

#[test]
fn the_token_of_one_pod_excuses_and_accuses_no_other() {
    let mut other = refused(1.0);
    other.source = "stock/short".into();
    judge(&[served(0.0, 30.0), other, served(1.2, 30.0)])
        .clean()
        .unwrap();
}

#[test]
fn a_slow_answer_counts_while_a_token_was_there() {
    let mut slow = served(1.0, 30.0);
    slow.took = Duration::from_secs(5);
    assert_eq!(
        faults(&[served(0.0, 30.0), slow.clone()]),
        [Fault::Slow(slow.took)]
    );
    // the first one waits for its token
    assert_eq!(faults(&[slow]), []);
}

#[test]
fn readers_that_did_not_look_have_seen_nothing() {
    let reads = [served(0.0, 30.0), served(9.0, 30.0)];
    assert_eq!(faults(&reads), [Fault::Blind(Duration::from_secs(9))]);
    assert!(judge(&[]).clean().is_err_and(is_nothing));
    assert!(judge(&[refused(0.0)]).clean().is_err_and(is_nothing));
}

fn is_nothing(why: anyhow::Error) -> bool {
    why.to_string().contains("nobody was given a token")
}

#[test]
fn a_part_of_the_reads_is_told_by_when_they_began() {
    let reads = [served(0.0, 9.0), served(1.0, 9.0), served(2.0, 9.0)];
    let part = between(&reads, at(1.0), at(2.0));
    assert_eq!(part.len(), 1);
    assert_eq!(part[0].begun, at(1.0));
}

/// A socket that gives this answer to whoever asks.
fn answering(folder: &TempDir, answer: String) -> Source {
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 500];
            let length = stream.read(&mut asked).await.unwrap();
            let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
            assert!(asked.starts_with("GET /v1/tokens/short HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Source {
        name: "orders/short".into(),
        socket,
        token: "short".to_owned(),
    }
}

fn token(expires: Timestamp) -> String {
    let claims = json!({"exp": expires.as_second()}).to_string();
    format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// What readers of that answer read until there are a few reads.
async fn read_a_few(answer: String) -> Vec<Read> {
    let folder = TempDir::new().unwrap();
    let readers = Readers::start(vec![answering(&folder, answer)]).unwrap();
    let a_few = until(Duration::from_secs(20), "a few reads", || async {
        ensure!(readers.so_far().len() >= 3);
        Ok(())
    });
    a_few.await.unwrap();
    // the reads that are open are answered meanwhile
    let ended = tokio::task::spawn_blocking(|| readers.end());
    ended.await.unwrap().unwrap()
}

#[tokio::test]
async fn readers_find_out_when_the_token_ends_by_looking_into_it() {
    let good = token(now().saturating_add(Duration::from_secs(60)).unwrap());
    let reads = read_a_few(format!("HTTP/1.1 200 OK\r\n\r\n{good}")).await;
    judge(&reads).all_served().unwrap();

    let over = token(now().saturating_sub(Duration::from_secs(60)).unwrap());
    let reads = read_a_few(format!("HTTP/1.1 200 OK\r\n\r\n{over}")).await;
    let found = judge(&reads).violations;
    assert_eq!(found.len(), reads.len());
    for violation in found {
        let Fault::Expired { seconds } = violation.fault else {
            panic!("{violation:?}");
        };
        assert!((60..70).contains(&seconds), "{seconds}");
    }
}

#[tokio::test]
async fn readers_in_turn_read_each_once_in_a_round() {
    let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", token(now()));
    let folders = [(); 4].map(|()| TempDir::new().unwrap());
    let sources = folders
        .iter()
        .zip(["a", "b", "c", "d"])
        .map(|(folder, name)| Source {
            name: name.into(),
            ..answering(folder, answer.clone())
        });
    let since = Instant::now();
    let readers = Readers::in_turn(sources.collect(), Duration::from_millis(400)).unwrap();
    let two_rounds = until(Duration::from_secs(20), "two rounds", || async {
        ensure!(readers.so_far().len() >= 8);
        Ok(())
    });
    two_rounds.await.unwrap();
    let took = since.elapsed();
    let ended = tokio::task::spawn_blocking(|| readers.end());
    let reads = ended.await.unwrap().unwrap();
    let names: Vec<&str> = reads.iter().map(|read| &*read.source).collect();
    assert_eq!(names[..8], ["a", "b", "c", "d", "a", "b", "c", "d"]);
    // The first one is at once; if each of them took a round, this would be seven.
    let rounds = Duration::from_millis(700)..Duration::from_millis(2500);
    assert!(rounds.contains(&took), "{took:?}");
}

#[tokio::test]
async fn readers_keep_what_a_refusal_says() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"code\":\"Expired\"}";
    let reads = read_a_few(answer.to_owned()).await;
    let refused = Outcome::Refused {
        status: 503,
        code: "Expired".to_owned(),
    };
    assert!(reads.iter().all(|read| read.outcome == refused));
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let reads = read_a_few("HTTP/1.1 200 OK\r\n".to_owned()).await;
    let broken = Outcome::Broken("half an answer".to_owned());
    assert!(reads.iter().all(|read| read.outcome == broken), "{reads:?}");
}
