//! What the replicas answer all the while, from before the restore until it is over.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use anyhow::{Result, ensure};
use hallpass_e2e::{
    guard::Token,
    scene::{
        Scene,
        What::{Jwt, Opaque},
        Who::{Elsewhere, Stock},
    },
    token::kid,
};
use tokio::time::{Instant, sleep};

/// The questions that are asked again and again, and what came of them.
pub(super) struct Watched<'a> {
    scene: &'a Scene,
    refused: [&'a Token; 3],
    of_leaked: &'a Token,
    /// How often each status was answered about what is refused.
    statuses: BTreeMap<u16, usize>,
    /// When a token of the leaked key was called good, and how often.
    leaked: Vec<Instant>,
    issued: Vec<Token>,
    rounds: usize,
}

const BEAT: Duration = Duration::from_millis(300);

/// Tokens are asked for every so many beats, and each of the rows but the first two once.
const EACH: usize = 5;
const FIRST: usize = 2;

impl<'a> Watched<'a> {
    /// `refused` may never be good again, nor the token of a leaked key.
    pub(super) const fn new(
        scene: &'a Scene,
        refused: [&'a Token; 3],
        of_leaked: &'a Token,
    ) -> Self {
        Self {
            scene,
            refused,
            of_leaked,
            statuses: BTreeMap::new(),
            leaked: Vec::new(),
            issued: Vec::new(),
            rounds: 0,
        }
    }

    /// Asks as long as that is done, which is done to its end whatever the answers are.
    ///
    /// # Errors
    /// Something was good that may not be.
    pub(super) async fn during(&mut self, done: impl Future<Output = Result<()>>) -> Result<()> {
        let mut done = pin!(done);
        let why = tokio::select! {
            why = self.for_ever() => why,
            done = &mut done => return done,
        };
        done.await?;
        Err(why)
    }

    async fn for_ever(&mut self) -> anyhow::Error {
        loop {
            if let Err(why) = self.round().await {
                return why;
            }
            sleep(BEAT).await;
        }
    }

    async fn round(&mut self) -> Result<()> {
        let guard = &self.scene.guard;
        for replica in [0, 1] {
            for token in self.refused {
                let answer = guard.answer(replica, token).await?;
                *self.statuses.entry(answer.status).or_default() += 1;
                let good = answer.status == 200 && answer.json()?["active"] == true;
                ensure!(!good, "replica {replica} takes what is revoked: {answer:?}");
            }
            let answer = guard.answer(replica, self.of_leaked).await?;
            if answer.status == 200 && answer.json()?["active"] == true {
                self.leaked.push(Instant::now());
            }
            self.gets_nothing(replica).await?;
        }
        let (beat, row) = (self.rounds % EACH, FIRST + self.rounds / EACH);
        self.rounds += 1;
        if beat == 0 && row < super::ROWS {
            for replica in [0, 1] {
                let row = row.to_string();
                let token = self.scene.token(replica, Elsewhere, Jwt, &row);
                // it may not be able to; only what it issues matters
                self.issued.extend(token.await.ok());
            }
        }
        Ok(())
    }

    /// The locked pod is refused by that replica.
    pub(super) async fn gets_nothing(&self, replica: usize) -> Result<()> {
        let (api, identity) = (&self.scene.guard.apis[replica], self.scene.identity(Stock));
        let answer = api.tokens(identity, &[&Opaque.name("0")]).await?;
        let body = answer.json()?;
        ensure!(
            body["tokens"][0]["token"].is_null(),
            "replica {replica} issues a token to a locked pod"
        );
        let locked = answer.body.contains("\"Locked\"");
        ensure!(locked || answer.status == 503, "{answer:?}");
        Ok(())
    }

    /// The key was of no use to anybody.
    pub(super) fn nothing_of(&self, leaked: &str) -> Result<()> {
        ensure!(
            self.leaked.is_empty(),
            "a token of the removed key is good again"
        );
        for token in &self.issued {
            ensure!(kid(&token.text)? != leaked, "the removed key signs");
        }
        Ok(())
    }

    /// How much of it all there was.
    pub(super) fn said(&self, leaked: &str) -> Result<String> {
        let mut signed = 0;
        for token in &self.issued {
            signed += usize::from(kid(&token.text)? == leaked);
        }
        let good = match &self.leaked[..] {
            [] => "was never good again".to_owned(),
            [first, .., last] => format!("was good again for {:?}", *last - *first),
            [_] => "was good again once".to_owned(),
        };
        Ok(format!(
            "{} rounds, answers about what is refused by status {:?}, a token of the removed key {good}, and it signed {signed} of {} tokens",
            self.rounds,
            self.statuses,
            self.issued.len()
        ))
    }
}
