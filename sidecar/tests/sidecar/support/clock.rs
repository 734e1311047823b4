//! The clock of the machine under test, and the true time beside it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass_sidecar::surroundings::{Boottime, Clock, Moment};
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, time::Instant};

/// A machine whose wall clock can be set, stopped and be wrong, and that can be suspended. The true
/// time, which the operator tells, follows the runtime's clock.
#[derive(Clone)]
pub(crate) struct TestClock {
    start: Instant,
    machine: Arc<Mutex<Machine>>,
    resumed: Arc<watch::Sender<()>>,
}

#[derive(Default)]
struct Machine {
    asleep: Duration,
    uncounted: Duration,
    off: SignedDuration,
    stopped: Option<Timestamp>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            machine: Arc::default(),
            resumed: Arc::new(watch::Sender::new(())),
        }
    }

    /// The true time.
    pub(crate) fn now(&self) -> Timestamp {
        let uncounted = self.machine.lock().unwrap().uncounted;
        Timestamp::from_second(1_800_000_000).unwrap() + self.passed() + uncounted
    }

    /// What a machine sees that was suspended: both clocks have moved, and no timer of the runtime has run.
    pub(crate) fn suspend(&self, time: Duration) {
        self.machine.lock().unwrap().asleep += time;
        self.resumed.send_replace(());
    }

    /// What a virtual machine sees that was stopped from outside: its boot time has not moved, and its wall
    /// clock was set.
    pub(crate) fn stop_machine(&self, time: Duration) {
        self.machine.lock().unwrap().uncounted += time;
    }

    /// Sets the wall clock so many seconds ahead of the true time, or behind it.
    pub(crate) fn set_off(&self, seconds: i64) {
        self.machine.lock().unwrap().off = SignedDuration::from_secs(seconds);
    }

    /// Stops the wall clock where it is.
    pub(crate) fn stop(&self) {
        let wall = self.wall();
        self.machine.lock().unwrap().stopped = Some(wall);
    }

    /// What the sidecar is given.
    pub(crate) fn clock(&self) -> Clock {
        let (now, sleep) = (self.clone(), self.clone());
        let now = move || Moment {
            wall: now.wall(),
            boot: now.boot(),
        };
        Clock::new(now, move |at| {
            let clock = sleep.clone();
            Box::pin(async move { clock.sleep_until(at).await })
        })
    }

    fn passed(&self) -> Duration {
        self.start.elapsed() + self.machine.lock().unwrap().asleep
    }

    fn boot(&self) -> Boottime {
        Boottime::new(UPTIME + self.passed())
    }

    fn wall(&self) -> Timestamp {
        let machine = self.machine.lock().unwrap();
        let (stopped, off) = (machine.stopped, machine.off);
        drop(machine);
        stopped.unwrap_or_else(|| self.now() + off)
    }

    async fn sleep_until(&self, at: Boottime) {
        let mut resumed = self.resumed.subscribe();
        loop {
            let left = self.boot().until(at);
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = resumed.changed() => {}
            }
        }
    }
}

/// The machine has run for so long when a test begins.
const UPTIME: Duration = Duration::from_secs(5_000);
