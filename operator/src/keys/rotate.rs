//! The leader's part: carries out the steps of every issuer's keys.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hallpass_core::{lifetime, name::IssuerId, token::signing::Algorithm};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::{debug, error, info};

use super::{
    CLOCKS_APART, Keys,
    rotation::{Plan, Step, next_step},
    secret::{MakeError, NewKey},
    shelf::{Issuer, Shelf},
    store::{CallError, Store, Written},
};
use crate::{
    lease::tenure::Tenure,
    telemetry::{
        Metrics,
        label::{KeyStep, StepOutcome},
        log::Chain,
    },
};

/// What every issuer that counts wants of its keys.
pub type Plans = Arc<BTreeMap<IssuerId, Plan>>;

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("read the keys")]
    Read(#[source] CallError),
    #[error(
        "this replica's clock is {0} away from the API server's: no key is touched by such a clock"
    )]
    Clock(SignedDuration),
    #[error("make a key")]
    Make(#[source] MakeError),
    #[error("the making of a key was given up")]
    Abandoned(#[source] tokio::task::JoinError),
    #[error("store the step")]
    Write(#[source] CallError),
}

/// Rotates keys whenever this replica leads. Never returns.
///
/// # Guarantees
/// No write begins once the tenure that `leader` tells of is over, and none is made from what was
/// read before another write. A write that is overtaken changes nothing.
pub async fn run(
    keys: Keys,
    client: Client,
    namespace: String,
    mut leader: watch::Receiver<Tenure>,
    plans: watch::Receiver<Plans>,
    clock: fn() -> Timestamp,
    metrics: Metrics,
) {
    let store = Store::new(client, &namespace);
    while leader.wait_for(Tenure::leads).await.is_ok() {
        let rotator = Rotator {
            store: store.clone(),
            leader: leader.clone(),
            clock,
            metrics: metrics.clone(),
        };
        let mut term = Term {
            rotator,
            plans: plans.clone(),
            due: BTreeMap::new(),
        };
        let over = tokio::select! {
            biased;
            over = leader.wait_for(|tenure| !tenure.leads()) => over.map(drop),
            () = term.work(keys.changes()) => Ok(()),
        };
        if over.is_err() {
            break;
        }
    }
    // The elector is gone: this replica never leads again.
    std::future::pending().await
}

/// What a leader has to do, until it is none.
struct Term {
    rotator: Rotator,
    plans: watch::Receiver<Plans>,
    due: BTreeMap<IssuerId, Due>,
}

#[derive(Debug)]
struct Due {
    at: Instant,
    failures: u32,
    /// What was read the last time: what has not changed is not parsed again.
    read: Shelf,
}

impl Due {
    fn new(at: Instant) -> Self {
        Self {
            at,
            failures: 0,
            read: Shelf::default(),
        }
    }
}

impl Term {
    async fn work(&mut self, mut changes: watch::Receiver<u64>) {
        self.mark(Instant::now());
        loop {
            let next = self.due.iter().min_by_key(|(_, due)| due.at);
            let next = next.map(|(issuer, due)| (issuer.clone(), due.at));
            tokio::select! {
                Ok(()) = self.plans.changed() => self.mark(Instant::now()),
                // What changes until then is looked at together.
                Ok(()) = changes.changed() => self.mark(Instant::now() + DEBOUNCE),
                issuer = reached(next) => self.visit(&issuer).await,
            }
        }
    }

    /// Has every issuer looked at by then. Those that wait after a failure go on waiting.
    fn mark(&mut self, at: Instant) {
        let plans = Arc::clone(&self.plans.borrow_and_update());
        self.due.retain(|issuer, _| plans.contains_key(issuer));
        for issuer in plans.keys() {
            let due = self
                .due
                .entry(issuer.clone())
                .or_insert_with(|| Due::new(at));
            if due.failures == 0 {
                due.at = due.at.min(at);
            }
        }
    }

    async fn visit(&mut self, issuer: &IssuerId) {
        let plan = self.plans.borrow().get(issuer).cloned();
        let (Some(plan), Some(due)) = (plan, self.due.get_mut(issuer)) else {
            self.due.remove(issuer);
            return;
        };
        let pause = match self.rotator.settle(issuer, &plan, &mut due.read).await {
            Ok(pause) => {
                due.failures = 0;
                pause
            }
            Err(error) => {
                due.failures = due.failures.saturating_add(1);
                report(issuer, &error, due.failures);
                lifetime::retry_after(due.failures, None, rand::random())
            }
        };
        due.at = Instant::now() + pause;
    }
}

/// Takes the steps of one issuer after another.
struct Rotator {
    store: Store,
    leader: watch::Receiver<Tenure>,
    clock: fn() -> Timestamp,
    metrics: Metrics,
}

impl Rotator {
    /// Takes steps until there is nothing to do. Returns when to look again.
    async fn settle(
        &self,
        issuer: &IssuerId,
        plan: &Plan,
        read: &mut Shelf,
    ) -> Result<Duration, StepError> {
        for _ in 0..MOST_STEPS {
            let seen = Instant::now();
            let (known, now) = self.look(issuer, read).await?;
            let states = known.states_under(&plan.revoked);
            let step = next_step(&states, known.unread, plan, now);
            if let Step::Nothing { look_again_at } = step {
                return Ok(until(look_again_at, now));
            }
            if !self.leader.borrow().may_write() {
                break;
            }
            self.carry_out(issuer, plan, &known, step, seen).await?;
        }
        Ok(SOON)
    }

    /// The keys as they are stored now, and what time it is.
    async fn look(
        &self,
        issuer: &IssuerId,
        read: &mut Shelf,
    ) -> Result<(Issuer, Timestamp), StepError> {
        let listed = self
            .store
            .list(Some(issuer))
            .await
            .map_err(StepError::Read)?;
        let now = (self.clock)();
        // A date has whole seconds, cut off.
        let off = listed.date.map(|date| now.duration_since(date));
        if let Some(off) = off.filter(|off| off.abs() > CLOCKS_APART) {
            return Err(StepError::Clock(off));
        }
        *read = read.relist(&listed.objects);
        let known = read.issuers(None).0.remove(issuer);
        Ok((known.unwrap_or_default(), now))
    }

    /// Does the step that was decided from what was `seen` then, unless it is too late for it.
    async fn carry_out(
        &self,
        issuer: &IssuerId,
        plan: &Plan,
        known: &Issuer,
        step: Step,
        seen: Instant,
    ) -> Result<(), StepError> {
        let made = match step {
            Step::Create { .. } => Some(self.make(plan.algorithm).await?),
            Step::Nothing { .. } | Step::Activate { .. } | Step::Remove { .. } => None,
        };
        if seen.elapsed() > FRESH || !self.leader.borrow().may_write() {
            return Ok(());
        }
        let now = (self.clock)();
        let number = match step {
            Step::Create { number, .. } | Step::Activate { number } | Step::Remove { number } => {
                number
            }
            Step::Nothing { .. } => return Ok(()),
        };
        let kid = made.as_ref().map(|key| key.kid().to_owned());
        let (label, written) = match (step, made, known.key(number)) {
            (Step::Create { activated, .. }, Some(key), _) => {
                let manifest = key.manifest(issuer, number, now, activated);
                (KeyStep::Create, self.store.create(&manifest).await)
            }
            (Step::Activate { .. }, _, Some(key)) => (
                KeyStep::Activate,
                self.store.activate(&key.version, now).await,
            ),
            (Step::Remove { .. }, _, Some(key)) => {
                (KeyStep::Remove, self.store.remove(&key.version).await)
            }
            _ => return Ok(()),
        };
        let known = || {
            known
                .key(number)
                .map(|key| key.material.signing.kid().to_owned())
        };
        self.told(
            issuer,
            label,
            &kid.or_else(known).unwrap_or_default(),
            written,
        )
    }

    /// RSA takes a second of a processor: not here, where others wait.
    async fn make(&self, algorithm: Algorithm) -> Result<NewKey, StepError> {
        let made = tokio::task::spawn_blocking(move || NewKey::make(algorithm)).await;
        made.map_err(StepError::Abandoned)?.map_err(StepError::Make)
    }

    fn told(
        &self,
        issuer: &IssuerId,
        step: KeyStep,
        kid: &str,
        written: Result<Written, CallError>,
    ) -> Result<(), StepError> {
        let outcome = match written {
            Ok(Written::Done) => StepOutcome::Done,
            Ok(Written::Overtaken) => StepOutcome::Overtaken,
            Err(_) => StepOutcome::Failed,
        };
        self.metrics.key_step(step, outcome);
        let (id, word) = (issuer.as_str(), step.as_str());
        match written.map_err(StepError::Write)? {
            Written::Done => info!(
                issuer.id = id,
                key.id = kid,
                key.step = word,
                "key rotation"
            ),
            Written::Overtaken => {
                debug!(
                    issuer.id = id,
                    key.step = word,
                    "another replica was faster"
                );
            }
        }
        Ok(())
    }
}

fn report(issuer: &IssuerId, error: &StepError, failures: u32) {
    let (id, error) = (issuer.as_str(), Chain(error));
    if failures == 1 {
        error!(issuer.id = id, %error, "the keys of an issuer are not looked after");
    } else {
        debug!(issuer.id = id, %error, "the keys of an issuer are still not looked after");
    }
}

fn until(at: Option<Timestamp>, now: Timestamp) -> Duration {
    let pause = at.and_then(|at| Duration::try_from(at.duration_since(now)).ok());
    pause.map_or(FULL, |pause| pause.clamp(SHORTEST, FULL))
}

async fn reached(next: Option<(IssuerId, Instant)>) -> IssuerId {
    match next {
        Some((issuer, at)) => {
            sleep_until(at).await;
            issuer
        }
        None => std::future::pending().await,
    }
}

/// How long changes are gathered before they are looked at.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// How often an issuer is looked at, whatever the clock says.
const FULL: Duration = Duration::from_secs(300);

/// After steps that did not come to an end.
const SOON: Duration = Duration::from_secs(1);

/// A time that is almost there is waited for in one piece.
const SHORTEST: Duration = Duration::from_millis(10);

/// More steps than any state of the keys asks for.
const MOST_STEPS: usize = 12;

/// For how long a step may be decided from what was read.
const FRESH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
