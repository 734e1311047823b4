//! Where a process runs while it is measured: the server on one core, the generator of its load on the
//! other, so that neither takes the other's time, and both in one network.

use std::{fs, os::fd::AsFd as _};

use anyhow::{Context as _, Result};
use rustix::{
    process::Pid,
    thread::{
        CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity,
    },
};

/// The core of the server.
pub(crate) const SERVER: usize = 0;
/// The core of who asks it.
pub(crate) const GENERATOR: usize = 1;

/// A process all of whose threads are on one core; they may run everywhere again when this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    pid: u32,
    before: CpuSet,
}

impl Pinned {
    pub(crate) fn new(pid: u32, core: usize) -> Result<Self> {
        let before = sched_getaffinity(Some(thread(pid)?)).context("where does it run?")?;
        let pinned = Self { pid, before };
        place(pid, &only(core))?;
        Ok(pinned)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // a process that has ended runs nowhere
        drop(place(self.pid, &self.before));
    }
}

/// Has this thread run on that core alone.
pub(crate) fn pin_this_thread(core: usize) -> Result<()> {
    sched_setaffinity(None, &only(core)).context("stay on a core")
}

/// Has this thread be in the network of that process from now on.
pub(crate) fn enter_network_of(pid: u32) -> Result<()> {
    let network = fs::File::open(format!("/proc/{pid}/ns/net"))?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("enter a network")
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// A thread that begins meanwhile is where the one is that began it.
fn place(pid: u32, set: &CpuSet) -> Result<()> {
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task: u32 = task?.file_name().to_string_lossy().parse()?;
        match sched_setaffinity(Some(thread(task)?), set) {
            // it has ended
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(why) => return Err(why).context("place a thread"),
        }
    }
    Ok(())
}

fn thread(id: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(id)?).context("no thread has the id 0")
}
