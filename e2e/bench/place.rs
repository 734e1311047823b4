//! Where a process runs while it is measured: the server alone on one core, the generator of its load on
//! the other before all else, so that nobody takes their time, and both in one network.

use std::{fs, os::fd::AsFd as _, process::Command};

use anyhow::{Context as _, Result};
use rustix::{
    process::{Pid, setpriority_process},
    thread::{
        CpuSet, LinkNameSpaceType, gettid, move_into_link_name_space, sched_getaffinity,
        sched_setaffinity,
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

/// The rest of a cluster, which leaves a core to a server until this is dropped.
#[derive(Debug)]
pub(crate) struct Aside {
    cgroup: String,
    everywhere: CpuSet,
}

impl Aside {
    /// `cluster` is a process of that cluster, and `server` the one to which the core is left.
    pub(crate) fn all_but(server: u32, cluster: u32) -> Result<Self> {
        let aside = Self {
            cgroup: cgroup(cluster)?,
            everywhere: sched_getaffinity(None).context("where may it run?")?,
        };
        for pid in aside.processes()?.filter(|pid| *pid != server) {
            place(pid, &only(GENERATOR))?;
        }
        Ok(aside)
    }

    /// The processes of the cluster; one that has ended meanwhile is not among them.
    fn processes(&self) -> Result<impl Iterator<Item = u32>> {
        let all = fs::read_dir("/proc")?.filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_string_lossy().parse().ok()?;
            let is_of_it = cgroup(pid).is_ok_and(|of| of == self.cgroup);
            is_of_it.then_some(pid)
        });
        Ok(all)
    }
}

impl Drop for Aside {
    /// Those that began meanwhile too.
    fn drop(&mut self) {
        for pid in self.processes().into_iter().flatten() {
            // a process that has ended runs nowhere
            drop(place(pid, &self.everywhere));
        }
    }
}

/// The cgroup below which all of a cluster's processes are.
pub(crate) fn cgroup(pid: u32) -> Result<String> {
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let mut paths = all.lines().filter_map(|line| line.split_once(":/"));
    let found = paths.find_map(|(_, path)| {
        let top = path.split('/').next()?;
        top.starts_with("hallpass-").then(|| top.to_owned())
    });
    found.context("a process of no cluster")
}

/// Has this thread run on that core alone.
pub(crate) fn pin_this_thread(core: usize) -> Result<()> {
    sched_setaffinity(None, &only(core)).context("stay on a core")
}

/// Has this thread run before anything else on its core.
pub(crate) fn come_first() -> Result<()> {
    setpriority_process(None, FIRST).context("come first")
}

/// Has all threads of that process run before anything else on its core.
pub(crate) fn first(pid: u32) -> Result<()> {
    each_thread(pid, |thread| setpriority_process(Some(thread), FIRST))
}

/// The nice value of what comes first.
const FIRST: i32 = -20;

/// Has this thread run the moment it is woken: in real time. One that never sleeps would be held up by the kernel
/// for 50 ms of each second. Where that is not permitted it comes first, and that is said.
#[expect(clippy::print_stderr, reason = "who reads the figures has to know")]
pub(crate) fn be_punctual() -> Result<()> {
    let thread = gettid().as_raw_nonzero().to_string();
    let mut chrt = Command::new("chrt");
    let why = match chrt.args(["--fifo", "--pid", "1", &thread]).output() {
        Ok(done) if done.status.success() => return Ok(()),
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(error) => format!("chrt: {error}"),
    };
    eprintln!("requests may be made late: {}", why.trim());
    come_first()
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
    each_thread(pid, |thread| sched_setaffinity(Some(thread), set))
}

/// One that has ended meanwhile is passed over.
fn each_thread(pid: u32, make: impl Fn(Pid) -> rustix::io::Result<()>) -> Result<()> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Ok(());
    };
    for task in tasks {
        let task: u32 = task?.file_name().to_string_lossy().parse()?;
        match make(thread(task)?) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(why) => return Err(why).context("place a thread"),
        }
    }
    Ok(())
}

fn thread(id: u32) -> Result<Pid> {
    Pid::from_raw(i32::try_from(id)?).context("no thread has the id 0")
}
