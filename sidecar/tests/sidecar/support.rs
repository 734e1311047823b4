//! The pod around the sidecar under test.

pub(crate) mod clock;
pub(crate) mod operator;
pub(crate) mod program;
pub(crate) mod request;

use std::{
    future::poll_fn,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, mpsc},
    time::Duration,
};

use hallpass_sidecar::{
    app::{self, StartError},
    config::{Config, Operator},
    surroundings::{Jitter, Surroundings},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use self::{
    clock::TestClock,
    operator::FakeOperator,
    request::{Answer, get},
};

/// A pod with a sidecar that is being served.
pub(crate) struct Pod {
    pub(crate) operator: FakeOperator,
    pub(crate) directory: Arc<TempDir>,
    pub(crate) clock: TestClock,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), StartError>>,
    /// While this is held the clock moves only when a test moves it, however long a socket takes.
    _still: mpsc::Sender<()>,
}

/// What a pod is made of, before its sidecar starts.
pub(crate) struct Plan {
    pub(crate) containers: Vec<&'static str>,
    pub(crate) jitter: Jitter,
    pub(crate) trusted: bool,
    pub(crate) clock: TestClock,
    /// Whether there is a cache, and an identity that says whose.
    pub(crate) cached: bool,
    /// Whether the trust bundle is given in the environment.
    pub(crate) given: bool,
    /// Whether it knows of the other replica.
    pub(crate) replicas: bool,
    /// Where it looks for the operator, if that is somewhere else.
    pub(crate) elsewhere: Option<SocketAddr>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            containers: vec!["app"],
            jitter: Jitter::new(|| 0.5),
            trusted: true,
            clock: TestClock::new(),
            cached: false,
            given: false,
            replicas: false,
            elsewhere: None,
        }
    }
}

impl Pod {
    /// A pod with one container whose operator assigns `names`.
    pub(crate) async fn with_tokens(names: &[&str]) -> Self {
        Self::planned(Plan::default(), |operator| {
            for name in names {
                operator.assign(name, &format!("https://{name}.example"), 600);
            }
        })
        .await
    }

    pub(crate) async fn planned(plan: Plan, prepare: impl FnOnce(&FakeOperator)) -> Self {
        let operator = FakeOperator::start(plan.clock.clone()).await;
        prepare(&operator);
        Self::beside(operator, plan).await
    }

    /// A pod with that operator.
    pub(crate) async fn beside(operator: FakeOperator, plan: Plan) -> Self {
        let still = stand_still();
        let directory = tempfile::tempdir().unwrap();
        for container in &plan.containers {
            std::fs::create_dir_all(directory.path().join("run").join(container)).unwrap();
        }
        let identity = if plan.cached {
            std::fs::create_dir(directory.path().join("cache")).unwrap();
            IDENTITY
        } else {
            "first-identity"
        };
        std::fs::write(directory.path().join("token"), identity).unwrap();
        if plan.trusted {
            std::fs::write(directory.path().join("ca.pem"), operator.ca()).unwrap();
        }
        Self::serve(operator, Arc::new(directory), still, plan).await
    }

    /// The same pod after its sidecar has ended: it is started again.
    pub(crate) async fn again(&self) -> Self {
        self.again_with(|_| {}).await
    }

    /// The same, with something changed.
    pub(crate) async fn again_with(&self, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = Plan {
            clock: self.clock.clone(),
            ..Plan::default()
        };
        change(&mut plan);
        let directory = Arc::clone(&self.directory);
        Self::serve(self.operator.clone(), directory, stand_still(), plan).await
    }

    async fn serve(
        operator: FakeOperator,
        directory: Arc<TempDir>,
        still: mpsc::Sender<()>,
        plan: Plan,
    ) -> Self {
        let Plan { clock, jitter, .. } = plan;
        let address = |text: String| Operator::parse(&text).unwrap();
        let elsewhere = plan.elsewhere.map(|elsewhere| elsewhere.to_string());
        let config = Config {
            operator: address(elsewhere.unwrap_or_else(|| operator.address())),
            replicas: plan.replicas.then(|| address(operator.other())),
            containers: directory.path().join("run"),
            identity: directory.path().join("token"),
            trust: directory.path().join("ca.pem"),
            cache: directory.path().join("cache"),
            ca: plan.given.then(|| operator.ca().as_bytes().to_vec()),
        };
        let surroundings = Surroundings {
            clock: clock.clock(),
            jitter,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(app::serve(config, surroundings, async {
            stopped.await.unwrap_or_default();
        }));
        let pod = Self {
            operator,
            directory,
            clock,
            stop: Some(stop),
            serving,
            _still: still,
        };
        for container in plan.containers {
            let socket = pod.socket(container);
            eventually("the socket listens", async || {
                std::os::unix::net::UnixStream::connect(&socket).is_ok()
            })
            .await;
        }
        pod
    }

    pub(crate) fn socket(&self, container: &str) -> PathBuf {
        self.directory
            .path()
            .join("run")
            .join(container)
            .join("hallpass.sock")
    }

    pub(crate) fn file(&self, container: &str, name: &str) -> PathBuf {
        let run = self.directory.path().join("run");
        run.join(container).join("tokens").join(name)
    }

    /// The file that outlives the sidecar.
    pub(crate) fn cache(&self) -> PathBuf {
        self.directory.path().join("cache/tokens.json")
    }

    /// Reads from the socket of the container `app`.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        get(&self.socket("app"), target, &[]).await
    }

    /// The token of that name, bare; panics where there is none.
    pub(crate) async fn token(&self, name: &str) -> String {
        let target = format!("/v1/tokens/{name}");
        let answer = get(&self.socket("app"), &target, &[("accept", "text/plain")]).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    }

    /// The state of a token, as the list tells it.
    pub(crate) async fn state(&self, name: &str) -> String {
        let list = self.get("/v1/tokens").await.json();
        let tokens = list["tokens"].as_array().unwrap();
        let token = tokens.iter().find(|token| token["name"] == name);
        token.map_or_else(
            || "absent".to_owned(),
            |token| token["state"].as_str().unwrap().to_owned(),
        )
    }

    /// Tells the sidecar to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<(), StartError> {
        self.stop.take().unwrap().send(()).unwrap();
        (&mut self.serving).await.unwrap()
    }

    /// Ends the sidecar without a word.
    pub(crate) async fn kill(&mut self) {
        self.serving.abort();
        (&mut self.serving).await.unwrap_err();
    }

    /// Whether the sidecar still runs.
    pub(crate) fn serves(&self) -> bool {
        !self.serving.is_finished()
    }
}

/// An identity token of the pod `uid-1`, with nothing in it that is not looked at:
/// `{"kubernetes.io":{"pod":{"uid":"uid-1"}}}`.
const IDENTITY: &str = "e30.eyJrdWJlcm5ldGVzLmlvIjp7InBvZCI6eyJ1aWQiOiJ1aWQtMSJ9fX0.c2ln";

/// Moves the clock in steps, so that what is due in between happens in its order.
pub(crate) async fn pass(time: Duration) {
    let mut left = time;
    while !left.is_zero() {
        let step = left.min(Duration::from_secs(1));
        tokio::time::advance(step).await;
        // What is due now takes some turns of the runtime, and now and then the kernel takes its time.
        let start = std::time::Instant::now();
        let mut turns = 0;
        while turns < 20 || start.elapsed() < Duration::from_millis(1) {
            tokio::task::yield_now().await;
            turns += 1;
        }
        left -= step;
    }
}

/// Looks until `what` is so; the clock stands still.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !so().await {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// The outcome of `future`, which must not take long by the clock of the one who runs the test.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    let start = std::time::Instant::now();
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(start.elapsed() < Duration::from_secs(20), "no end to it");
        cx.waker().wake_by_ref();
        future.as_mut().poll(cx)
    })
    .await
}

/// Keeps a paused clock from jumping ahead whenever all tasks wait for a socket: it does not while a
/// blocking task runs.
fn stand_still() -> mpsc::Sender<()> {
    let (held, end) = mpsc::channel::<()>();
    drop(tokio::task::spawn_blocking(move || {
        end.recv().unwrap_or_default()
    }));
    held
}

/// Everything in a file.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
