//! Whether what lies at one of the sidecar's paths is its own: what its predecessor left is replaced, and what anybody
//! else put there is not.

use std::{
    fs::FileType,
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use rustix::process::geteuid;

/// What a sidecar makes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Socket,
    Directory,
}

/// Something lies there that this sidecar may not use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOurs {
    #[error("cannot look at what is there")]
    Look(#[source] io::Error),
    #[error(
        "{what} of user {user} is there, which no sidecar made, and it stays: see what else in this pod mounts a volume `hallpass-…`"
    )]
    Foreign { what: &'static str, user: u32 },
}

/// Looks at `path` itself, not at where a link would lead.
///
/// # Errors
/// Anything is there but what a sidecar of this user makes there.
pub(super) fn check(path: &Path, kind: Kind) -> Result<(), NotOurs> {
    made_by(geteuid().as_raw(), path, kind)
}

fn made_by(me: u32, path: &Path, kind: Kind) -> Result<(), NotOurs> {
    let there = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        there => there.map_err(NotOurs::Look)?,
    };
    let (what, user) = (there.file_type(), there.uid());
    let fits = match kind {
        Kind::Socket => what.is_socket(),
        Kind::Directory => what.is_dir(),
    };
    if fits && user == me {
        return Ok(());
    }
    let what = words(what);
    Err(NotOurs::Foreign { what, user })
}

fn words(kind: FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device or a pipe"
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn t28_a_socket_of_another_user_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hallpass.sock");
        drop(UnixListener::bind(&path).unwrap());
        check(&path, Kind::Socket).unwrap();
        let me = geteuid().as_raw();
        let refused = made_by(me + 1, &path, Kind::Socket).unwrap_err();
        let of_me = NotOurs::Foreign {
            what: "a socket",
            user: me,
        };
        assert_eq!(refused.to_string(), of_me.to_string());
        let words = refused.to_string();
        // Each container has one of its own, such as `hallpass-c0`.
        assert!(words.ends_with(" mounts a volume `hallpass-…`"), "{words}");
    }

    #[test]
    fn t28_a_link_is_not_what_it_leads_to() {
        let directory = tempfile::tempdir().unwrap();
        let (socket, link) = (directory.path().join("a"), directory.path().join("b"));
        drop(UnixListener::bind(&socket).unwrap());
        symlink(&socket, &link).unwrap();
        for (path, kind, what) in [
            (&link, Kind::Socket, "a symbolic link"),
            (&socket, Kind::Directory, "a socket"),
        ] {
            let refused = check(path, kind).unwrap_err();
            assert!(
                matches!(refused, NotOurs::Foreign { what: said, .. } if said == what),
                "{refused}"
            );
        }
    }
}
