//! Every connection asks again as soon as it has its answer: the server is never idle.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::{task::JoinSet, time::sleep};

use super::{CONNECTIONS, Round, Target, WARM};
use crate::{process::cpu_micros, stats::Sample};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Warming,
    Measuring,
    Over,
}

pub(super) async fn run(target: Arc<Target>, length: Duration) -> Result<Round> {
    let phase = Rc::new(Cell::new(Phase::Warming));
    let waited = Rc::new(RefCell::new(Vec::with_capacity(200_000)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = target.connect().await?;
        let (target, phase, waited) = (Arc::clone(&target), Rc::clone(&phase), Rc::clone(&waited));
        tasks.spawn_local(async move {
            while phase.get() != Phase::Over {
                let asked = Instant::now();
                connection.ask(&target, target.next()).await?;
                if phase.get() == Phase::Measuring {
                    waited
                        .borrow_mut()
                        .push(asked.elapsed().as_secs_f64() * 1e6);
                }
            }
            anyhow::Ok(())
        });
    }
    sleep(WARM).await;
    let (began, before) = (Instant::now(), cpu_micros(target.pid)?);
    phase.set(Phase::Measuring);
    sleep(length).await;
    phase.set(Phase::Over);
    let (took, spent) = (began.elapsed(), cpu_micros(target.pid)? - before);
    let waited = waited.take();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection")??;
    }
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let answered = waited.len() as f64;
    Ok(Round {
        cpu: spent / answered,
        rate: answered / took.as_secs_f64(),
        waited: Sample::new(waited),
    })
}

pub(super) async fn each<T: 'static>(
    target: Arc<Target>,
    count: usize,
    take: fn(&[u8]) -> Result<T>,
) -> Result<Vec<T>> {
    let next = Rc::new(Cell::new(0));
    let taken = Rc::new(RefCell::new(Vec::new()));
    taken.borrow_mut().resize_with(count, || None);
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS.min(count) {
        let mut connection = target.connect().await?;
        let (target, next, taken) = (Arc::clone(&target), Rc::clone(&next), Rc::clone(&taken));
        tasks.spawn_local(async move {
            while next.get() < count {
                let number = next.replace(next.get() + 1);
                let answer = take(connection.ask(&target, number).await?)?;
                taken.borrow_mut()[number] = Some(answer);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection")??;
    }
    let taken = taken.take().into_iter();
    taken.map(|one| one.context("an answer")).collect()
}
