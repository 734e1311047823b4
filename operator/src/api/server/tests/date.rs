//! What time the answers say it is.

use std::cell::Cell;

use super::*;

thread_local! {
    /// In seconds, on the thread of one test.
    static TIME: Cell<i64> = const { Cell::new(0) };
}

pub(super) fn clock() -> Timestamp {
    Timestamp::from_second(TIME.get()).unwrap()
}

/// The values of all `date` headers of that answer.
fn dates(answer: &str) -> Vec<&str> {
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.eq_ignore_ascii_case("date"))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test]
async fn f06_each_answer_has_the_one_date_that_the_clock_shows_also_when_it_is_set_back() {
    let server = server(short()).await;
    for (time, date) in [
        (1_790_000_000, "Mon, 21 Sep 2026 14:13:20 GMT"),
        (1_790_000_600, "Mon, 21 Sep 2026 14:23:20 GMT"),
        (1_790_000_000, "Mon, 21 Sep 2026 14:13:20 GMT"),
        (1_789_999_401, "Mon, 21 Sep 2026 14:03:21 GMT"),
        (1_791_000_001, "Sat, 03 Oct 2026 04:00:01 GMT"),
    ] {
        TIME.set(time);
        for path in ["/", "/nowhere", "/wait"] {
            let answer = server.ask(path).await;
            assert_eq!(dates(&answer), [date], "{path}: {answer}");
        }
    }
}

#[tokio::test]
async fn f06_what_is_refused_before_anybody_has_read_it_says_no_time_rather_than_a_wrong_one() {
    let server = server(short()).await;
    let mut stream = server.connect().await.unwrap();
    stream.write_all(b"no request\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(dates(&answer), [] as [&str; 0]);
}
