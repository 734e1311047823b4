//! The program as a process, on a machine whose wall clock is set while it runs.

use std::{fs, path::Path, sync::Arc, time::Duration};

use http::Request;
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{Instant, Interval, interval, timeout},
};

use self::Wrong::{Off, Stopped};
use crate::support::{
    clock::TestClock,
    operator::FakeOperator,
    program::{Library, Program},
    read,
    request::open,
};

/// What is done to the wall clock.
#[derive(Debug, Clone, Copy)]
enum Wrong {
    /// It is so many seconds ahead of the true time, or behind it.
    Off(i64),
    /// It stands still.
    Stopped,
}

/// How it is when the sidecar starts, what is done to it while it runs, and how it is when the sidecar is
/// started again.
type Case = (Wrong, &'static [Wrong], Wrong);

const CASES: [Case; 4] = [
    (Off(600), &[Off(-600)], Off(0)),
    (Off(-600), &[Off(600)], Off(-600)),
    (Off(0), &[Off(600), Off(0)], Off(600)),
    (Off(0), &[Stopped], Stopped),
];

#[tokio::test]
async fn f06_a_process_whose_clock_is_off_or_set_fails_no_read_and_serves_nothing_expired() {
    let library = Arc::new(Library::compile());
    let mut cases = JoinSet::new();
    for case in CASES {
        let library = Arc::clone(&library);
        cases.spawn(async move { Run::begin(&library, case).await.through(case).await });
    }
    cases.join_all().await;
}

#[tokio::test]
async fn f07_a_process_reads_and_waits_by_the_clock_that_runs_through_a_suspend() {
    let truth = TestClock::new();
    let operator = FakeOperator::start(truth.clone()).await;
    operator.assign("vault", "a", 600);
    let library = Library::compile();
    let mut program = Program::new(&library, &operator, truth);
    program.suspended(SUSPENDED);
    let before = since_boot();
    program.start();
    let mut beat = interval(PACE);
    let since = Instant::now();
    while !program.keeps("planted.vault.1") || timers(&program).is_empty() {
        beat.tick().await;
        assert!(since.elapsed() < PATIENCE, "{}", program.log());
    }
    let cache = read(&program.cache());
    let cache: Value = serde_json::from_str(cache.lines().nth(1).unwrap()).unwrap();
    let told = Duration::from_millis(cache["written"]["boot_millis"].as_u64().unwrap());
    let counted = before + SUSPENDED..=since_boot() + SUSPENDED;
    assert!(counted.contains(&told), "{told:?} is not in {counted:?}");
    for clock in timers(&program) {
        assert_eq!(clock, ClockId::Boottime as u32);
    }
}

/// The boot time of the machine that runs the test, in whole milliseconds.
fn since_boot() -> Duration {
    let read = clock_gettime(ClockId::Boottime);
    let read = SignedDuration::new(read.tv_sec, read.tv_nsec.try_into().unwrap());
    Duration::from_millis(read.as_millis().try_into().unwrap())
}

/// The clock of each timer that the process has.
fn timers(program: &Program) -> Vec<u32> {
    let folder = fs::read_dir(format!("/proc/{}/fdinfo", program.pid())).unwrap();
    // A descriptor may be closed meanwhile.
    let each = folder.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let clock = |info: String| {
        info.lines()
            .find_map(|l| l.strip_prefix("clockid: ")?.parse().ok())
    };
    each.filter_map(clock).collect()
}

/// One sidecar, and an application that reads its token all the time.
struct Run {
    case: String,
    operator: FakeOperator,
    program: Program,
    truth: TestClock,
    beat: Interval,
    reads: u32,
}

/// A token, as it was served.
#[derive(Debug)]
struct Served {
    token: String,
    expires_at: Timestamp,
}

/// Why none was, and when that was asked.
struct Refused {
    problem: Value,
    at: Timestamp,
}

impl Run {
    async fn begin(library: &Library, case: Case) -> Self {
        let truth = TestClock::new();
        // The certificates of an operator that has just made them.
        let from = truth.now() - BACKDATED;
        let operator = FakeOperator::certified(truth.clone(), from).await;
        operator.assign("vault", "a", LIFE);
        Self {
            case: format!("{case:?}"),
            program: Program::new(library, &operator, truth.clone()),
            operator,
            truth,
            beat: interval(PACE),
            reads: 0,
        }
    }

    async fn through(mut self, (first, then, last): Case) {
        self.set(first);
        self.start().await;
        self.served("the first token", |_| true).await;
        self.knows(first, 0).await;
        for (before, &wrong) in then.iter().enumerate() {
            let issued = self.issued();
            self.set(wrong);
            self.served("the same token", |_| true).await;
            self.knows(wrong, before + 1).await;
            // Asked for after that, and nobody waits for it.
            self.served("the next token", |run| run.issued() > issued)
                .await;
            self.knows(wrong, before + 1).await;
        }
        let newest = self.newest();
        self.operator.away(true);
        let what = "the cache has it";
        self.served(what, |run| run.program.keeps(&newest)).await;
        self.program.kill();
        self.set(last);
        self.start().await;
        self.ends(&newest).await;
        assert!(self.reads > 100, "{}: {} reads", self.case, self.reads);
    }

    fn set(&self, wrong: Wrong) {
        match wrong {
            Off(seconds) => self.program.wall.set_off(seconds),
            Stopped => self.program.wall.stop(),
        }
    }

    /// Starts the program, and waits until it listens.
    async fn start(&mut self) {
        self.program.start();
        let since = Instant::now();
        while UnixStream::connect(self.program.socket()).await.is_err() {
            self.beat.tick().await;
            assert!(
                since.elapsed() < PATIENCE,
                "{}",
                self.words("never listens")
            );
        }
    }

    /// Reads, and each read gets a token, until it is so.
    async fn served(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        loop {
            let refused = self.read().await.err().map(|refused| refused.problem);
            assert_eq!(refused, None, "{}", self.words(what));
            if so(self) {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "{}", self.words(what));
        }
    }

    /// The sidecar tells how far the wall clock is off, and how often it was set.
    async fn knows(&self, wrong: Wrong, jumps: usize) {
        let Off(seconds) = wrong else {
            return;
        };
        let (_, page) = get(&self.program.socket(), "/metrics").await;
        let value = |name: &str| -> f64 {
            let value = page.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap().trim().parse().unwrap()
        };
        let skew = value("hallpass_sidecar_clock_skew_seconds ");
        let within = value("hallpass_sidecar_clock_skew_uncertainty_seconds ");
        #[expect(clippy::cast_precision_loss, reason = "minutes")]
        let off = (skew - seconds as f64).abs();
        assert!(off <= within + 0.1, "{}: {skew} ± {within}", self.case);
        let told = value("hallpass_sidecar_clock_jumps_total ");
        #[expect(clippy::cast_precision_loss, reason = "two")]
        let jumps = jumps as f64;
        assert_eq!(told, jumps, "{}", self.words("jumps"));
    }

    /// That token is served, and lies in its file, for as long as it is valid, and no longer.
    async fn ends(&mut self, newest: &str) {
        let file = self.program.file("vault");
        let mut last = self.read().await.ok();
        assert_eq!(read(&file), newest, "{}", self.case);
        let refused = loop {
            match self.read().await {
                Ok(served) => last = Some(served),
                Err(refused) => break refused,
            }
        };
        let last = last.unwrap();
        assert_eq!(last.token, newest, "{}", self.case);
        assert_eq!(refused.problem["code"], "Expired", "{}", self.case);
        let early = last.expires_at.duration_since(refused.at);
        assert!(early <= EARLY, "{}: {early} were left", self.case);
        while file.exists() {
            self.beat.tick().await;
            assert!(self.truth.now() < last.expires_at + EARLY, "{}", self.case);
        }
    }

    /// Reads the token once.
    async fn read(&mut self) -> Result<Served, Refused> {
        self.beat.tick().await;
        let at = self.truth.now();
        let (status, body) = get(&self.program.socket(), "/v1/tokens/vault").await;
        self.reads += 1;
        let problem: Value = serde_json::from_str(&body).unwrap();
        if status != 200 {
            return Err(Refused { problem, at });
        }
        let text = |member: &str| problem[member].as_str().unwrap().to_owned();
        let served = Served {
            token: text("access_token"),
            expires_at: text("expires_at").parse().unwrap(),
        };
        assert!(at < served.expires_at, "{}: expired {served:?}", self.case);
        Ok(served)
    }

    /// How many tokens the operator has issued.
    fn issued(&self) -> usize {
        self.operator.asked("/v1/tokens").len()
    }

    fn newest(&self) -> String {
        format!("planted.vault.{}", self.issued())
    }

    fn words(&self, what: &str) -> String {
        format!("{}: {what}\n{}", self.case, self.program.log())
    }
}

/// A read that does not keep the processor busy while it waits.
async fn get(socket: &Path, target: &str) -> (u16, String) {
    let request = Request::get(target).header("host", "hallpass");
    let answer = async {
        let answer = open(socket, request.body(Full::default()).unwrap()).await;
        let (head, body) = answer.into_parts();
        (
            head.status.as_u16(),
            body.collect().await.unwrap().to_bytes(),
        )
    };
    let (status, body) = timeout(PATIENCE, answer).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// In seconds: a test waits for some of these lives.
const LIFE: u32 = 7;
/// The operator's clock tells whole seconds, and what it leaves of one is not counted on.
const EARLY: SignedDuration = SignedDuration::from_millis(1_500);
/// What a machine that slept for a day counts on one of its two clocks alone.
const SUSPENDED: Duration = Duration::from_secs(86_400);
const PACE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);
/// As in the operator's `tls::certificate`.
const BACKDATED: SignedDuration = SignedDuration::from_mins(15);
