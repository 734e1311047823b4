//! A second try beside the first one, where that takes too long.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, sleep_until};

/// What follows an answer of the first one that is there in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// Nothing: it counts, whatever it says.
    Counts,
    /// The second one, at once: what was asked for was not begun.
    AtOnce,
    /// The second one, when its time has come: what was asked for may have been done in part.
    InTime,
}

/// The outcome of `first`; where it fails, or is not there `after` that time, that of whichever ends first
/// of it and `second`. An outcome that [`is_away`] counts only where the other one is no better, and so does
/// what `second` refuses ([`is_refusal`]): it may know less than the one that was asked first.
///
/// # Guarantees
/// `second` is not begun where `first` answers in time what counts by [`early`]: one that is asked for a pause
/// does not get twice the questions instead.
///
/// [`early`]: hedged
/// [`is_away`]: hedged
/// [`is_refusal`]: hedged
pub(super) async fn hedged<T, E>(
    first: impl Future<Output = Result<T, E>>,
    second: impl Future<Output = Result<T, E>>,
    after: Duration,
    early: impl Fn(&T) -> Early,
    is_away: impl Fn(&T) -> bool,
    is_refusal: impl Fn(&T) -> bool,
) -> Result<T, E> {
    let mut first = pin!(first);
    let due = Instant::now() + after;
    let in_time = tokio::select! {
        biased;
        outcome = first.as_mut() => Some(outcome),
        () = sleep_until(due) => None,
    };
    let is_whole = |outcome: &Result<T, E>| outcome.as_ref().is_ok_and(|answer| !is_away(answer));
    let follows = match &in_time {
        Some(Ok(answer)) => early(answer),
        Some(Err(_)) | None => Early::AtOnce,
    };
    if follows == Early::InTime {
        sleep_until(due).await;
    }
    match in_time {
        Some(answered) if follows == Early::Counts => answered,
        Some(failed) => better(failed, second.await, is_whole),
        None => {
            let mut second = pin!(second);
            tokio::select! {
                biased;
                outcome = first.as_mut() => {
                    if is_whole(&outcome) {
                        return outcome;
                    }
                    better(outcome, second.await, is_whole)
                }
                outcome = second.as_mut() => {
                    if is_whole(&outcome) && !outcome.as_ref().is_ok_and(is_refusal) {
                        return outcome;
                    }
                    better(first.await, outcome, is_whole)
                }
            }
        }
    }
}

/// The whole answer of the two; else any answer, which explains more than none; else the first failure.
fn better<T, E>(
    first: Result<T, E>,
    second: Result<T, E>,
    is_whole: impl Fn(&Result<T, E>) -> bool,
) -> Result<T, E> {
    if is_whole(&first) || !(is_whole(&second) || first.is_err() && second.is_ok()) {
        first
    } else {
        second
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::sleep;

    use super::*;

    type Outcome = Result<u16, &'static str>;

    /// What comes of two tries that take so many milliseconds: the outcome, the time, and whether the
    /// second one was begun.
    async fn outcome(first: (u64, Outcome), second: (u64, Outcome)) -> (Outcome, u64, bool) {
        outcome_by(|_| Early::Counts, first, second).await
    }

    /// The same where that follows an answer of the first one in time.
    async fn outcome_by(
        early: impl Fn(&u16) -> Early,
        first: (u64, Outcome),
        second: (u64, Outcome),
    ) -> (Outcome, u64, bool) {
        let start = Instant::now();
        let begun = Cell::new(false);
        let tried = async |(millis, outcome): (u64, Outcome)| {
            sleep(Duration::from_millis(millis)).await;
            outcome
        };
        let second = async {
            begun.set(true);
            tried(second).await
        };
        let after = Duration::from_millis(300);
        let refused = |status: &u16| (400..500).contains(status);
        let outcome = hedged(
            tried(first),
            second,
            after,
            early,
            |status| *status >= 500,
            refused,
        )
        .await;
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap();
        (outcome, millis, begun.get())
    }

    #[tokio::test(start_paused = true)]
    async fn f09_one_that_does_not_answer_costs_the_wait_and_a_round_trip() {
        let hour = 3_600_000;
        let told = outcome((hour, Ok(200)), (5, Ok(304))).await;
        assert_eq!(told, (Ok(304), 305, true));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_in_time_is_believed_whatever_it_says() {
        for status in [200, 403, 429, 503] {
            let told = outcome((299, Ok(status)), (0, Ok(200))).await;
            assert_eq!(told, (Ok(status), 299, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_an_answer_in_time_does_not_count_the_second_one_is_begun_at_once_or_in_its_time()
    {
        for (early, millis) in [(Early::AtOnce, 6), (Early::InTime, 305)] {
            let told = outcome_by(|_| early, (1, Ok(503)), (5, Ok(200))).await;
            assert_eq!(told, (Ok(200), millis, true), "{early:?}");
            let told = outcome_by(|_| early, (1, Ok(503)), (5, Err("gone"))).await;
            assert_eq!(told, (Ok(503), millis, true), "{early:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_the_second_one_does_not_end_the_first() {
        for status in [403, 429] {
            let told = outcome((900, Ok(200)), (5, Ok(status))).await;
            assert_eq!(told, (Ok(200), 900, true));
            let told = outcome((900, Err("gone")), (5, Ok(status))).await;
            assert_eq!(told, (Ok(status), 900, true));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_gone_is_replaced_at_once() {
        let told = outcome((1, Err("refused")), (5, Ok(200))).await;
        assert_eq!(told, (Ok(200), 6, true));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_whole_answer_wins_and_the_late_one_is_not_waited_for() {
        let told = outcome((310, Ok(200)), (20, Ok(304))).await;
        assert_eq!(told, (Ok(200), 310, true));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_one_that_is_away_counts_only_where_the_other_is_no_better() {
        let away = outcome((400, Ok(503)), (200, Ok(200))).await;
        assert_eq!(away, (Ok(200), 500, true));
        let away = outcome((700, Ok(200)), (200, Ok(503))).await;
        assert_eq!(away, (Ok(200), 700, true));
        let away = outcome((400, Err("reset")), (200, Ok(503))).await;
        assert_eq!(away, (Ok(503), 500, true));
        let away = outcome((400, Err("reset")), (200, Err("refused"))).await;
        assert_eq!(away, (Err("reset"), 500, true));
    }
}
