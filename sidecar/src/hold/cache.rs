//! What outlives a crash of the sidecar: one file in a volume of its own.
//!
//! # Guarantees
//! The file is whole or ignored: it is written beside and renamed into place, and begins with a digest
//! of the rest. It has mode 0600, nothing but a regular file is read, and no more than [`LIMIT`] of it.
//! A cache that cannot be used costs a line in the log and nothing else.

mod document;

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use hallpass_core::{name::Uid, secret::Secret};
use rustix::fs::OFlags;
use tracing::{info, warn};

use self::document::{Document, DocumentError};
pub(crate) use self::document::{Held, Kept};
use super::Hold;
use crate::{
    digest::{LENGTH, sha256},
    identity::Identity,
    surroundings::Clock,
    telemetry::{Counters, chain},
    trust::Trust,
};

/// The cache of this pod.
#[derive(Debug)]
pub(crate) struct Cache {
    place: Option<Place>,
    trust: Arc<Trust>,
    counters: Arc<Counters>,
    failed: AtomicBool,
}

/// Where it is, and whose.
#[derive(Debug)]
struct Place {
    directory: PathBuf,
    pod: Uid,
    boot: Option<String>,
}

/// A step of reading or writing failed.
#[derive(Debug, thiserror::Error)]
enum CacheError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is not a file", path.display())]
    NoFile { path: PathBuf },
    #[error("{} is larger than {LIMIT} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} is not whole", path.display())]
    Torn { path: PathBuf },
    #[error("{} is not used", path.display())]
    Use {
        path: PathBuf,
        source: DocumentError,
    },
    #[error("what is to be cached is larger than {LIMIT} bytes")]
    Full,
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot move a file to {}", path.display())]
    Publish { path: PathBuf, source: io::Error },
}

impl Cache {
    /// The cache in `directory`, where there is one.
    pub(crate) fn open(
        directory: &Path,
        identity: &Identity,
        trust: Arc<Trust>,
        counters: Arc<Counters>,
    ) -> Self {
        let pod = identity.pod();
        let place = match (directory.is_dir(), pod) {
            (true, Some(pod)) => Some(Place {
                directory: directory.to_owned(),
                pod,
                boot: boot(),
            }),
            (false, _) => {
                info!(path = %directory.display(), "no cache: there is no such directory");
                None
            }
            (true, None) => {
                info!("no cache: the identity token names no pod");
                None
            }
        };
        Self {
            place,
            trust,
            counters,
            failed: AtomicBool::new(false),
        }
    }

    /// Puts into `hold` what a predecessor kept, as far as it is valid now.
    pub(crate) fn restore(&self, hold: &Hold, clock: &Clock) {
        let Some(place) = &self.place else { return };
        match place.load(clock) {
            Ok(Some(mut kept)) => {
                if let Some(Err(error)) = kept.trust.take().map(|pem| self.trust.renew(pem)) {
                    warn!(error = chain(&error), "cached trust bundle ignored");
                }
                hold.restore(kept, clock.now());
            }
            Ok(None) => {}
            Err(error) => warn!(error = chain(&error), "cache ignored"),
        }
    }

    /// Keeps what is in `hold`; tells whether it is kept.
    pub(crate) fn save(&self, hold: &Hold, clock: &Clock) -> bool {
        let Some(place) = &self.place else {
            return true;
        };
        let saved = place.save(hold, self.trust.renewed(), clock);
        if let Err(error) = &saved {
            self.counters.cache_errors.add();
            if !self.failed.load(Relaxed) {
                warn!(
                    error = chain(error),
                    "cache not written: a restart would begin without tokens"
                );
            }
        }
        self.failed.store(saved.is_err(), Relaxed);
        saved.is_ok()
    }
}

impl Place {
    fn load(&self, clock: &Clock) -> Result<Option<Kept>, CacheError> {
        let path = self.directory.join(NAME);
        let Some(bytes) = read(&path)? else {
            return Ok(None);
        };
        let at = || path.clone();
        let bytes = bytes.expose();
        let body = bytes
            .split_at_checked(LENGTH)
            .filter(|(sum, body)| *sum == sha256(body).as_bytes())
            .and_then(|(_, body)| body.strip_prefix(b"\n"))
            .ok_or_else(|| CacheError::Torn { path: at() })?;
        let kept = Document::parse(body)
            .and_then(|document| document.kept(&self.pod, self.boot.as_deref(), clock))
            .map_err(|source| CacheError::Use { path: at(), source })?;
        Ok(Some(kept))
    }

    fn save(&self, hold: &Hold, trust: Option<String>, clock: &Clock) -> Result<(), CacheError> {
        let mut document = Document::of(hold, &self.pod, self.boot.as_deref(), clock);
        document.trust = trust;
        let body = document.text(LIMIT - LENGTH).ok_or(CacheError::Full)?;
        let path = self.directory.join(NAME);
        let temporary = self.directory.join(TEMPORARY);
        let write = || {
            remove(&temporary)?;
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(sha256(body.expose()).as_bytes())?;
            file.write_all(body.expose())
        };
        write().map_err(|source| CacheError::Write {
            path: temporary.clone(),
            source,
        })?;
        let publish = || match std::fs::rename(&temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                // Nobody but this program has anything to put there.
                std::fs::remove_dir_all(&path)?;
                std::fs::rename(&temporary, &path)
            }
            outcome => outcome,
        };
        publish().map_err(|source| CacheError::Publish {
            path: path.clone(),
            source,
        })
    }
}

/// The whole file; [`None`] where there is none.
fn read(path: &Path) -> Result<Option<Secret<Vec<u8>>>, CacheError> {
    let at = || path.to_owned();
    let file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|source| CacheError::Read { path: at(), source })?,
    };
    let metadata = file.metadata();
    let metadata = metadata.map_err(|source| CacheError::Read { path: at(), source })?;
    if !metadata.is_file() {
        return Err(CacheError::NoFile { path: at() });
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(CacheError::TooLarge { path: at() });
    }
    // Never more than was looked at, so that the buffer never moves and leaves a copy behind.
    let mut bytes = vec![0; length];
    let outcome = (&file).read_exact(&mut bytes);
    let bytes = Secret::new(bytes);
    outcome.map_err(|source| CacheError::Read { path: at(), source })?;
    Ok(Some(bytes))
}

/// Opens a file for reading: no link is followed, and a pipe is not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What tells one boot of the machine from another; [`None`] where the kernel does not say.
fn boot() -> Option<String> {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let id = read.ok()?.trim().to_owned();
    (!id.is_empty()).then_some(id)
}

const NAME: &str = "tokens.json";
const TEMPORARY: &str = ".tokens.json.new";
const LIMIT: usize = 256 * 1024;
