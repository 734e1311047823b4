//! All the verifiers at once, each a process that goes on and keeps the issuer's keys as its library does.

use std::fs;

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    readme::block_of,
    verifiers::{ALL, Documented, Trust, Verdict, Verifier},
};

/// The verifiers of [`ALL`] and the Rust snippet of `docs/verifying.md`.
#[derive(Debug)]
pub struct Jury {
    members: Vec<(&'static str, Verifier)>,
    _folder: TempDir,
}

impl Jury {
    /// Starts them. They read the issuer's keys with their first token, or before.
    ///
    /// # Errors
    /// One of them could not be started.
    pub fn start(trust: &Trust<'_>, scope: &str) -> Result<Self> {
        let start = |name| Ok((name, Verifier::start(name, trust)?));
        let mut members: Vec<_> = ALL.into_iter().map(start).collect::<Result<_>>()?;
        let folder = TempDir::new()?;
        let snippet = block_of("docs/verifying.md", "snippet rust")?;
        fs::write(folder.path().join("snippet.rs"), snippet)?;
        let snippet = Documented {
            language: "rust",
            folder: folder.path(),
            issuer: trust.issuer,
            audience: trust.audience,
            ca: trust.ca,
            scope,
        };
        members.push(("rust", Verifier::documented(&snippet)?));
        Ok(Self {
            members,
            _folder: folder,
        })
    }

    /// What each of them says of that token.
    ///
    /// # Errors
    /// See [`Verifier::verdict`].
    pub async fn verdicts(&mut self, token: &str) -> Result<Vec<(&'static str, Verdict)>> {
        let mut verdicts = Vec::new();
        for (name, verifier) in &mut self.members {
            verdicts.push((*name, verifier.verdict(token).await?));
        }
        Ok(verdicts)
    }

    /// Ends them.
    ///
    /// # Errors
    /// See [`Verifier::end`].
    pub async fn end(self) -> Result<()> {
        for (_, verifier) in self.members {
            verifier.end().await?;
        }
        Ok(())
    }
}
