//! Leaders that are killed between two calls, that both believe they lead, whose calls are late, fail, or
//! succeed unheard; replicas that lag; pods that read what is published once and believe it for an hour.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::TestCaseError};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls_pki_types::UnixTime;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::*;

/// Three operators: two that believe they lead, and one that does not.
struct World {
    cluster: Shared,
    operators: Vec<Operator>,
    now: Clock,
    /// What was published, and since when.
    published: Vec<(Timestamp, String)>,
    signers: Vec<Timestamp>,
}

/// The time of day, which goes on while calls are late.
type Clock = Arc<Mutex<Timestamp>>;

struct Operator {
    authority: Arc<Authority>,
    door: Arc<Door>,
    leads: bool,
    look: Option<JoinHandle<()>>,
}

/// Lets calls through one by one.
#[derive(Debug)]
struct Door {
    calls: Semaphore,
    faults: Mutex<Vec<Fault>>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The call does not arrive.
    Before,
    /// Its answer does not.
    After,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// An operator looks at the cluster, unless it still does.
    Look(usize),
    /// One of its calls goes on.
    Call(usize),
    Fail(usize, Fault),
    Crash(usize),
    /// Time passes, and one leader finishes a look.
    Wait(u64, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let faults = vec![Fault::Before, Fault::After];
    prop_oneof![
        4 => (0..3usize).prop_map(Act::Look),
        8 => (0..3usize).prop_map(Act::Call),
        2 => (0..2usize, select(faults)).prop_map(|(i, fault)| Act::Fail(i, fault)),
        1 => (0..3usize).prop_map(Act::Crash),
        6 => (select(vec![1, 30, 300, 900, 1200]), 0..2usize).prop_map(|(s, i)| Act::Wait(s, i)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn f12_whoever_read_the_bundle_within_the_hour_trusts_every_replica_wherever_a_leader_is_killed(
        acts in vec(act(), 40..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.act(act).await?;
            }
            for _ in 0..40 {
                for leader in 0..2 {
                    world.act(Act::Wait(600, leader)).await?;
                }
                world.finish(2).await;
            }
            world.check()?;
            prop_assert!(world.operators.iter().all(|o| o.authority.ready(world.time()).is_ok()));
            prop_assert!(world.signers.len() > 2, "the model is too hostile to say anything");
            Ok(())
        })?;
    }
}

impl World {
    async fn new() -> Self {
        let cluster = Shared::default();
        let operators = [true, true, false].map(|leads| Operator::new(&cluster, leads));
        let mut world = Self {
            cluster,
            operators: operators.into(),
            now: Arc::new(Mutex::new(now())),
            published: Vec::new(),
            signers: Vec::new(),
        };
        for i in 0..3 {
            world.finish(i).await;
        }
        world
    }

    async fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Look(i) => self.operators[i].look(&self.now),
            Act::Call(i) => self.operators[i].door.calls.add_permits(1),
            Act::Fail(i, fault) => {
                let door = &self.operators[i].door;
                door.faults.lock().unwrap().push(fault);
                door.calls.add_permits(1);
            }
            Act::Crash(i) => {
                let leads = self.operators[i].leads;
                let crashed =
                    std::mem::replace(&mut self.operators[i], Operator::new(&self.cluster, leads));
                crashed.look.iter().for_each(JoinHandle::abort);
            }
            Act::Wait(seconds, leader) => {
                *self.now.lock().unwrap() += Duration::from_secs(seconds);
                self.check()?;
                self.finish(leader).await;
            }
        }
        settle().await;
        self.note();
        self.check()
    }

    /// Has an operator finish a look that begins now.
    async fn finish(&mut self, i: usize) {
        let operator = &mut self.operators[i];
        operator.door.faults.lock().unwrap().clear();
        operator.door.calls.add_permits(64);
        for _ in 0..2 {
            if let Some(look) = operator.look.take() {
                look.await.unwrap();
            }
            operator.look(&self.now);
        }
        if let Some(look) = operator.look.take() {
            look.await.unwrap();
        }
        operator.door.calls.forget_permits(usize::MAX);
        self.note();
    }

    fn time(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn note(&mut self) {
        let cluster = self.cluster.lock().unwrap();
        let text = cluster.bundle.as_ref().unwrap()["spec"]["trustBundle"].as_str();
        let text = text.unwrap().to_owned();
        drop(cluster);
        if self.published.last().is_none_or(|(_, last)| *last != text) {
            self.published.push((self.time(), text));
        }
        for operator in &self.operators {
            let ends = operator.authority.state.lock().unwrap().authority;
            self.signers.extend(ends.map(|life| life.until));
        }
        self.signers.sort_unstable();
        self.signers.dedup();
    }

    /// What a pod believes that has read the bundle within the last hour.
    fn check(&self) -> Result<(), TestCaseError> {
        let since = self.time() - BELIEVED;
        let ends = self.published.iter().skip(1).map(|(from, _)| *from);
        let ends = ends.chain([Timestamp::MAX]);
        for (_, bundle) in self
            .published
            .iter()
            .zip(ends)
            .filter(|(_, end)| *end > since)
            .map(|(p, _)| p)
        {
            for operator in &self.operators {
                if operator.authority.ready(self.time()).is_ok() {
                    prop_assert_eq!(self.verify(bundle, operator), Ok(()));
                }
            }
        }
        Ok(())
    }

    fn verify(&self, bundle: &str, operator: &Operator) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let served = operator.authority.served.current().unwrap();
        let name = ServerName::try_from(DNS).unwrap();
        let now = UnixTime::since_unix_epoch(self.time().as_duration().unsigned_abs());
        let verifier = verifier.build().unwrap();
        let verified =
            verifier.verify_server_cert(&served.cert[0], &served.cert[1..], &name, &[], now);
        verified.map(drop)
    }
}

impl Operator {
    fn new(cluster: &Shared, leads: bool) -> Self {
        let door = Arc::new(Door {
            calls: Semaphore::new(0),
            faults: Mutex::default(),
        });
        let name = |text| Namespace::parse(text).unwrap();
        let names = Names::new(name("hallpass"), name("hallpass-system"));
        let client = guarded(cluster, Arc::clone(&door));
        let mut authority = Authority::new(client, names, Engine::AdmissionPolicy, Metrics::new());
        authority.lives = Lives {
            authority: Duration::from_secs(8 * 3600),
            serving: Duration::from_secs(3600),
        };
        Self {
            authority: Arc::new(authority),
            door,
            leads,
            look: None,
        }
    }

    fn look(&mut self, now: &Clock) {
        if self.look.as_ref().is_none_or(JoinHandle::is_finished) {
            let (authority, leads, now) =
                (Arc::clone(&self.authority), self.leads, Arc::clone(now));
            self.look = Some(tokio::spawn(async move {
                authority.tend(leads, || *now.lock().unwrap()).await.ok();
            }));
        }
    }
}

/// A client whose calls wait at the door.
fn guarded(cluster: &Shared, door: Arc<Door>) -> Client {
    let cluster = Arc::clone(cluster);
    let service = tower::service_fn(move |request: Request<Body>| {
        let (cluster, door) = (Arc::clone(&cluster), Arc::clone(&door));
        async move {
            door.calls.acquire().await.unwrap().forget();
            let fault = door.faults.lock().unwrap().pop();
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let mut answer = failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
            if !matches!(fault, Some(Fault::Before)) {
                let path = head.uri.path();
                let said = cluster.lock().unwrap().answer(&head.method, path, &body);
                answer = if fault.is_none() { said } else { answer };
            }
            let (status, answer) = answer;
            let body = Body::from(answer.to_string().into_bytes());
            let answer = Response::builder().status(status).body(body).unwrap();
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    Client::new(service, "hallpass-system")
}

/// Until whatever can move has moved.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}

/// For how long a pod may go without reading the bundle: less than the overlap of a CA of eight hours.
const BELIEVED: Duration = Duration::from_secs(3600);
