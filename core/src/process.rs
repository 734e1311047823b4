//! What a process that holds tokens or keys asks of the kernel: what [`Secret`](crate::secret::Secret) promises
//! would be worth little if all of the memory could be read.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps the memory of this process to it. To be called before there is anything in it.
///
/// # Guarantees
/// Until it executes another program the kernel writes no core dump of it, whatever `core_pattern` and
/// `fs.suid_dumpable` say, and lets no other process of the same user trace it or read its memory, its
/// environment and its files below `/proc` (`PR_SET_DUMPABLE` of prctl(2)). The limit of a core's size is 0
/// besides, for what it starts too, and only who is privileged raises it again.
///
/// # Errors
/// The kernel refused; then nothing of this is certain.
pub fn conceal() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn t36_a_concealed_process_leaves_no_core_and_is_traced_by_nobody() {
        // As large a core as this process may ask for: there may be none here to begin with.
        let most = getrlimit(Resource::Core).maximum;
        let most = Rlimit {
            current: most,
            maximum: most,
        };
        setrlimit(Resource::Core, most).unwrap();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
        conceal().unwrap();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|l| l.starts_with("Max core file size"));
        let words: Vec<_> = core.unwrap().split_whitespace().skip(4).collect();
        assert_eq!(words, ["0", "0", "bytes"], "{limits}");
    }
}
