//! Requests come at a steady pace, whether the last ones were answered or not. How long one waited is
//! counted from when it was meant to be made, so a server that stands still is seen to (the coordinated
//! omission of a closed loop).

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    os::fd::OwnedFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::{io::unix::AsyncFd, sync::Notify, task::JoinSet};

use super::{CONNECTIONS, Round, Target, WARM};
use crate::{process::cpu_micros, stats::Sample};

/// What the connections share: the requests that are due, oldest first, and who waits for one.
#[derive(Default)]
struct Due {
    requests: RefCell<VecDeque<Instant>>,
    idle: RefCell<VecDeque<Rc<Notify>>>,
    over: Cell<bool>,
}

impl Due {
    fn add(&self, at: Instant) {
        self.requests.borrow_mut().push_back(at);
        if let Some(idle) = self.idle.borrow_mut().pop_front() {
            idle.notify_one();
        }
    }

    fn end(&self) {
        self.over.set(true);
        for idle in self.idle.take() {
            idle.notify_one();
        }
    }

    /// The next request; [`None`] when there will be no more. The connection that has been idle for the
    /// longest is the next one.
    async fn next(&self, idle: &Rc<Notify>) -> Option<Instant> {
        loop {
            if let Some(at) = self.requests.borrow_mut().pop_front() {
                return Some(at);
            }
            if self.over.get() {
                return None;
            }
            self.idle.borrow_mut().push_back(Rc::clone(idle));
            idle.notified().await;
        }
    }
}

pub(super) async fn run(target: Arc<Target>, rate: f64, length: Duration) -> Result<Round> {
    let due = Rc::new(Due::default());
    let waited = Rc::new(RefCell::new(Vec::with_capacity(100_000)));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = target.connect().await?;
        let (target, due, waited) = (Arc::clone(&target), Rc::clone(&due), Rc::clone(&waited));
        tasks.spawn_local(async move {
            let idle = Rc::new(Notify::new());
            while let Some(at) = due.next(&idle).await {
                connection.ask(&target, target.next()).await?;
                waited.borrow_mut().push((at, at.elapsed()));
            }
            anyhow::Ok(())
        });
    }
    let start = Instant::now();
    pace(&due, start, WARM, rate).await?;
    let (began, before) = (start + WARM, cpu_micros(target.pid)?);
    pace(&due, began, length, rate).await?;
    let spent = cpu_micros(target.pid)? - before;
    due.end();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a connection")??;
    }
    let waited = waited.take().into_iter().filter(|(at, _)| *at >= began);
    let waited: Vec<f64> = waited.map(|(_, took)| took.as_secs_f64() * 1e6).collect();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let answered = waited.len() as f64;
    Ok(Round {
        cpu: spent / answered,
        rate: answered / length.as_secs_f64(),
        waited: Sample::new(waited),
    })
}

/// Has a request become due every `1 / rate` seconds, from `start` on for `length`.
async fn pace(due: &Due, start: Instant, length: Duration, rate: f64) -> Result<()> {
    let alarm = Alarm::new()?;
    let gap = Duration::from_secs_f64(1.0 / rate);
    let mut at = start;
    while at < start + length {
        alarm.wait(at).await?;
        due.add(at);
        at += gap;
    }
    Ok(())
}

/// The runtime's own timer counts in milliseconds: several requests would come at once.
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its safe successor is not there yet; an OwnedFd keeps its descriptor"
        )]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    async fn wait(&self, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // those that are waiting for an answer get their turn
            tokio::task::yield_now().await;
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(left)?,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        let mut ready = self.0.readable().await?;
        // It has gone off: setting it again begins anew.
        ready.clear_ready();
        Ok(())
    }
}
