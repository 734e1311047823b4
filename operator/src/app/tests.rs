use std::future::{Future, pending, ready};

use super::{task::Outcome, *};

/// How it ends with those two tasks, of which the first is to run for ever and the second until it is told
/// to end.
async fn watched(
    steady: impl Future<Output = Outcome> + Send + 'static,
    closing: impl Future<Output = Outcome> + Send + 'static,
    leave: impl Future<Output = ()>,
) -> Result<(), AppError> {
    let mut both = (Tasks::default(), Tasks::default());
    both.0.spawn("policies", steady);
    both.1.spawn("api", closing);
    let (phase, _) = watch::channel(Phase::Serving);
    let ended = watch_over(both, leave, phase);
    timeout(A_WHILE, ended).await.expect("it ends")
}

/// Longer than any of them takes.
const A_WHILE: Duration = Duration::from_secs(60);

fn has_panicked(ended: &Result<(), AppError>, name: &str) -> bool {
    matches!(ended, Err(AppError::Task(TaskError::Panicked { task, .. })) if *task == name)
}

async fn panics() -> Outcome {
    panic!("injected")
}

async fn panics_after(time: Duration) -> Outcome {
    sleep(time).await;
    panics().await
}

/// Nobody has to ask for it: what is left of the process would look alive.
#[tokio::test]
async fn f22_a_part_that_panics_ends_the_process() {
    let ended = watched(panics(), pending(), pending()).await;
    assert!(has_panicked(&ended, "policies"), "{ended:?}");
    let ended = watched(pending(), panics(), pending()).await;
    assert!(has_panicked(&ended, "api"), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn f22_a_part_that_panics_at_the_end_makes_it_a_failure() {
    let begun = tokio::time::Instant::now();
    let ended = watched(panics_after(LINGER / 2), pending(), ready(())).await;
    assert!(has_panicked(&ended, "policies"), "{ended:?}");
    assert_eq!(
        begun.elapsed(),
        LINGER / 2,
        "nothing is waited for any more"
    );
    let ended = watched(pending(), panics_after(LINGER * 2), ready(())).await;
    assert!(has_panicked(&ended, "api"), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_to_end_and_does_is_no_failure_and_what_does_not_is() {
    let ends = async {
        sleep(LINGER * 2).await;
        Ok(())
    };
    let ended = watched(pending(), ends, ready(())).await;
    assert!(ended.is_ok(), "{ended:?}");
    let ended = watched(pending(), pending(), ready(())).await;
    assert!(matches!(ended, Err(AppError::Stuck(CLOSE))), "{ended:?}");
}
