//! Tokens as files, for what reads files: `tokens/<name>` in each container's directory.
//!
//! # Guarantees
//! A file is whole whenever it is there: it is written beside and renamed into place, so its inode
//! and its time change with the token. It has mode 0444 whatever the umask, and no newline at its end.
//! It goes when its token goes or ends, also where the next one cannot be written.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{DirBuilder, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hallpass_core::name::TokenName;

use super::ours::{self, NotOurs};
use crate::{hold::HeldToken, surroundings::Moment};

/// The token files of one container.
#[derive(Debug)]
pub(crate) struct Files {
    directory: PathBuf,
    written: BTreeMap<TokenName, Arc<HeldToken>>,
}

/// A step on the way to a file failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("cannot put files into {}", path.display())]
    Taken { path: PathBuf, source: NotOurs },
    #[error("cannot make the directory {}", path.display())]
    MakeDirectory { path: PathBuf, source: io::Error },
    #[error("cannot list {}", path.display())]
    List { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot move a file to {}", path.display())]
    Publish { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
}

impl FilesError {
    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        match self.source() {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl Files {
    /// An empty `tokens` directory in `container`. What a predecessor left is removed: nobody here
    /// knows how long it would be valid. Where a link would lead, nothing is.
    pub(crate) fn open(container: &Path) -> Result<Self, FilesError> {
        let directory = container.join("tokens");
        ours::check(&directory, ours::Kind::Directory).map_err(|source| FilesError::Taken {
            path: directory.clone(),
            source,
        })?;
        make(&directory).map_err(|source| FilesError::MakeDirectory {
            path: directory.clone(),
            source,
        })?;
        let list = |source| FilesError::List {
            path: directory.clone(),
            source,
        };
        for entry in std::fs::read_dir(&directory).map_err(list)? {
            remove(&entry.map_err(list)?.path())?;
        }
        Ok(Self {
            directory,
            written: BTreeMap::new(),
        })
    }

    /// For how long the token of each file is still valid.
    pub(crate) fn left(&self, now: Moment) -> impl Iterator<Item = Duration> {
        self.written.values().map(move |token| token.remaining(now))
    }

    /// Makes the files those of the `wanted` tokens: removes first, then writes what is new. All are
    /// tried; the first failure is told, and the next call tries again.
    pub(crate) fn settle(
        &mut self,
        wanted: &BTreeMap<TokenName, Arc<HeldToken>>,
        now: Moment,
    ) -> Result<(), FilesError> {
        let mut outcome = Ok(());
        let Self { directory, written } = self;
        written.retain(|name, token| {
            if wanted.contains_key(name) && !token.remaining(now).is_zero() {
                return true;
            }
            let removed = remove(&directory.join(name.as_str()));
            let stays = removed.is_err();
            outcome = std::mem::replace(&mut outcome, Ok(())).and(removed);
            stays
        });
        for (name, token) in wanted {
            let known = self.written.get(name);
            if known.is_some_and(|known| Arc::ptr_eq(known, token)) {
                continue;
            }
            match self.write(name, token) {
                Ok(()) => drop(self.written.insert(name.clone(), Arc::clone(token))),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    fn write(&self, name: &TokenName, token: &HeldToken) -> Result<(), FilesError> {
        let path = self.directory.join(name.as_str());
        let temporary = self.directory.join(format!(".{name}.new"));
        remove(&temporary)?;
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(MODE)
                .open(&temporary)?;
            file.set_permissions(Permissions::from_mode(MODE))?;
            file.write_all(token.secret().expose().as_bytes())
        };
        write().map_err(|source| FilesError::Write {
            path: temporary.clone(),
            source,
        })?;
        std::fs::rename(&temporary, &path).map_err(|source| FilesError::Publish { path, source })
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    std::fs::set_permissions(directory, Permissions::from_mode(0o755))
}

fn remove(path: &Path) -> Result<(), FilesError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(FilesError::Remove {
            path: path.to_owned(),
            source,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

const MODE: u32 = 0o444;

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicBool, Ordering::SeqCst},
    };

    use super::*;
    use crate::hold::fixture::{after, held, start, token_name};

    fn wanted(tokens: &[(&str, &Arc<HeldToken>)]) -> BTreeMap<TokenName, Arc<HeldToken>> {
        let tokens = tokens.iter();
        tokens
            .map(|(name, token)| (token_name(name), Arc::clone(token)))
            .collect()
    }

    #[test]
    fn a_reader_in_a_loop_sees_one_whole_token_or_the_other() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path()).unwrap();
        let (a, b) = (
            held("vault", &"a".repeat(4000), 600),
            held("vault", &"b".repeat(4000), 600),
        );
        files.settle(&wanted(&[("vault", &a)]), start()).unwrap();
        let path = directory.path().join("tokens/vault");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0;
                while !done.load(SeqCst) {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(text == *a.secret().expose() || text == *b.secret().expose());
                    reads += 1;
                }
                reads
            });
            for _ in 0..500 {
                files.settle(&wanted(&[("vault", &b)]), start()).unwrap();
                files.settle(&wanted(&[("vault", &a)]), start()).unwrap();
            }
            done.store(true, SeqCst);
            assert!(reader.join().unwrap() > 0);
        });
    }

    #[test]
    fn what_has_not_changed_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path()).unwrap();
        let token = held("vault", "planted", 600);
        let inode = || {
            directory
                .path()
                .join("tokens/vault")
                .metadata()
                .unwrap()
                .ino()
        };
        files
            .settle(&wanted(&[("vault", &token)]), start())
            .unwrap();
        let first = inode();
        files
            .settle(&wanted(&[("vault", &token)]), start())
            .unwrap();
        assert_eq!(inode(), first);
    }

    #[test]
    fn one_file_that_fails_does_not_hold_up_the_others_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path()).unwrap();
        let blocked = directory.path().join("tokens/bank");
        std::fs::create_dir(&blocked).unwrap();
        let token = held("vault", "planted", 600);
        let both = wanted(&[("bank", &token), ("vault", &token)]);
        assert!(matches!(
            files.settle(&both, start()),
            Err(FilesError::Publish { .. })
        ));
        assert!(directory.path().join("tokens/vault").is_file());
        std::fs::remove_dir(&blocked).unwrap();
        files.settle(&both, start()).unwrap();
        assert!(blocked.is_file());
    }

    #[test]
    fn f08_a_file_ends_with_its_token_where_the_next_one_cannot_be_written() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path()).unwrap();
        let (old, new) = (held("vault", "old", 600), held("vault", "new", 1200));
        files.settle(&wanted(&[("vault", &old)]), start()).unwrap();
        let tokens = directory.path().join("tokens");
        std::fs::create_dir(tokens.join(".vault.new")).unwrap();
        let replaced = wanted(&[("vault", &new)]);
        let path = tokens.join("vault");
        for (seconds, there) in [(599, true), (600, false)] {
            let refused = files.settle(&replaced, after(start(), seconds));
            assert!(
                matches!(refused, Err(FilesError::Remove { .. })),
                "{refused:?}"
            );
            assert_eq!(path.exists(), there, "{seconds}");
        }
        std::fs::remove_dir(tokens.join(".vault.new")).unwrap();
        files.settle(&replaced, after(start(), 601)).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "new");
    }
}
