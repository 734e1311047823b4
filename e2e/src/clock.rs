//! The wall clock of one process, set while it runs: nothing else on this machine reads another time.
//!
//! A program on Linux reads the clock without a system call, however it is linked: libc calls a function in
//! pages that the kernel puts into each process, the vDSO. Whoever writes to them through `/proc` gives that
//! process a copy of its own. What is written here does ask the kernel, and adds so many seconds to the wall
//! clock. Only a cluster of our own shows its processes, and only on x86-64.

use std::{
    fs::{self, File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt as _,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    process::Process,
    remark::remark,
    wait::{not_yet, until},
};

/// The wall clock of a process. It is right again when this is dropped.
#[derive(Debug)]
pub struct WallClock {
    process: Process,
    memory: File,
    function: u64,
}

impl WallClock {
    /// Takes hold of the clock of that process: it shows the same time as before.
    ///
    /// # Errors
    /// The process is gone, or of another architecture.
    pub async fn of(process: Process) -> Result<Self> {
        ensure!(cfg!(target_arch = "x86_64"), "the code is for x86-64");
        let place = vdso(process)?;
        let memory = format!("/proc/{}/mem", process.0);
        let memory = OpenOptions::new().read(true).write(true).open(memory)?;
        let mut image = vec![0; usize::try_from(place.end - place.start)?];
        memory.read_exact_at(&mut image, place.start)?;
        let (offset, length) = function(&image).context("a vDSO that tells the time")?;
        ensure!(length >= CODE.len() + 8, "there is no room for the code");
        ensure!(offset % 8 == 0, "the seconds are not written at once");
        let function = place.start + u64::try_from(offset)?;
        let stopped = process.stop().await?;
        until(WHILE, "no thread reads the clock", || async {
            outside(process, &place)
        })
        .await?;
        memory.write_all_at(&[&CODE[..], &[0; 8]].concat(), function)?;
        drop(stopped);
        Ok(Self {
            process,
            memory,
            function,
        })
    }

    /// Sets it so many seconds ahead of the true time, or behind it; it runs from there.
    ///
    /// # Errors
    /// The process is gone.
    pub fn set(&self, ahead: i64) -> Result<()> {
        let place = self.function + u64::try_from(CODE.len())?;
        let written = self.memory.write_all_at(&ahead.to_le_bytes(), place);
        written.context("set the clock of a process")
    }
}

impl Drop for WallClock {
    fn drop(&mut self) {
        if self.set(0).is_err() && self.process.runs() {
            let Process(pid) = self.process;
            remark(&format!("the clock of process {pid} may be off for ever"));
        }
    }
}

/// Where the vDSO of that process is.
fn vdso(process: Process) -> Result<Range<u64>> {
    let maps = fs::read_to_string(format!("/proc/{}/maps", process.0))?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"));
    let range = line.and_then(|line| line.split(' ').next()?.split_once('-'));
    let (from, to) = range.context("a process has a vDSO")?;
    Ok(u64::from_str_radix(from, 16)?..u64::from_str_radix(to, 16)?)
}

/// All threads of the process stand still, and none within that range.
fn outside(process: Process, range: &Range<u64>) -> Result<()> {
    for thread in fs::read_dir(format!("/proc/{}/task", process.0))? {
        // the last word is the address at which the thread goes on, if it stands still
        let at = fs::read_to_string(thread?.path().join("syscall"))?;
        let address = at.trim().rsplit("0x").next().unwrap_or_default();
        let Ok(address) = u64::from_str_radix(address, 16) else {
            bail!(not_yet(at));
        };
        ensure!(!range.contains(&address), not_yet(at));
    }
    Ok(())
}

/// Where in this image, which is an ELF file, the function is that reads a clock, and how long it is.
fn function(image: &[u8]) -> Option<(usize, usize)> {
    let sections = number(image, 0x28, 8)?;
    let (size, count) = (number(image, 0x3a, 2)?, number(image, 0x3c, 2)?);
    let section = |index: usize| image.get(sections + index * size..);
    let symbols = (0..count).find_map(|index| {
        let section = section(index)?;
        (number(section, 4, 4)? == DYNAMIC_SYMBOLS).then_some(section)
    })?;
    let names = number(section(number(symbols, 0x28, 4)?)?, 0x18, 8)?;
    let (from, length) = (number(symbols, 0x18, 8)?, number(symbols, 0x20, 8)?);
    image
        .get(from..from + length)?
        .chunks_exact(SYMBOL)
        .find_map(|symbol| {
            let name = image.get(names + number(symbol, 0, 4)?..)?;
            let found = name.starts_with(NAME);
            found.then_some((number(symbol, 8, 8)?, number(symbol, 16, 8)?))
        })
}

/// The little-endian number of so many bytes at that place.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let mut number = [0; 8];
    number
        .get_mut(..width)?
        .copy_from_slice(bytes.get(at..at + width)?);
    usize::try_from(u64::from_le_bytes(number)).ok()
}

/// `clock_gettime(clock in edi, result in rsi)`. The seconds that it adds, in eight bytes, follow it.
const CODE: [u8; 24] = [
    0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228: clock_gettime
    0x0f, 0x05, // syscall: it keeps edi and rsi, and nobody relies on rcx
    0x85, 0xff, // test edi, edi: the wall clock is number 0
    0x75, 0x0a, // jne to the ret
    0x48, 0x8b, 0x0d, 0x06, 0x00, 0x00, 0x00, // mov rcx, [rip + 6]: the seconds
    0x48, 0x01, 0x0e, // add [rsi], rcx
    0xc3, // ret, with what the kernel answered in eax
    0x90, 0x90, // nop, so that the seconds lie at a multiple of eight and change at once
];
const NAME: &[u8] = b"__vdso_clock_gettime\0";
/// The type of a section, and the size of one of its entries.
const DYNAMIC_SYMBOLS: usize = 11;
const SYMBOL: usize = 24;
const WHILE: Duration = Duration::from_secs(10);
