//! The volumes that a sidecar writes to are full, or may only be read. Its code makes no difference between
//! these errors and any other that a volume may have: the two stand for all of them.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::{Apps, SHORT},
    remark::remark,
    token::claims,
    wait::{now, until},
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::fixture::{MINUTE, apps, lasts};

const LIFE: &str = "30s";

/// Two lives of the short tokens.
const LASTS: Duration = Duration::from_secs(60);

/// A volume that nothing can be written to, for as long as this lives.
enum Hindered {
    /// By this file.
    Full(PathBuf),
    ReadOnly(PathBuf),
}

#[tokio::test]
async fn f08_reads_are_served_and_no_file_is_torn_while_the_volumes_are_full() -> Result<()> {
    hindered("full", Hindered::full).await
}

#[tokio::test]
async fn f08_reads_are_served_and_no_file_is_torn_while_the_volumes_are_read_only() -> Result<()> {
    hindered("readonly", Hindered::read_only).await
}

async fn hindered(fault: &str, hinder: fn(&Path) -> Result<Hindered>) -> Result<()> {
    let Some(apps) = apps(fault, 2, LIFE).await? else {
        return Ok(());
    };
    let files = fs::canonicalize(apps.pods[0].directory())?;
    let cache = files.with_file_name("hallpass-cache");
    let before = errors(&apps).await?;
    let hindrances = [hinder(&files)?, hinder(&cache)?];
    let (since, mut looks) = (Instant::now(), 0);
    while since.elapsed() < LASTS {
        for hindrance in &hindrances {
            hindrance.is_there()?;
        }
        if let Some(expires) = token(&files)? {
            // it goes at its end, and may have been read just before: but not where nothing can go
            let over =
                matches!(hindrances[0], Hindered::Full(_)) && expires + 1 < now().as_second();
            ensure!(!over, "over since {expires}");
        }
        cached(&cache)?;
        looks += 1;
        lasts(Duration::from_millis(100)).await;
    }
    let during = errors(&apps).await?;
    drop(hindrances);
    ensure!(looks > 100, "looked {looks} times");
    let told = before.iter().zip(during).all(|(before, now)| *before < now);
    ensure!(told, "errors of files and cache: {before:?}, {during:?}");
    written_again(&files, &cache).await?;
    let (_, verdict) = apps.end(&format!("volumes were {fault}"))?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 6, "{verdict}");
    Ok(())
}

/// How often the first pod's sidecar could not write files, and its cache.
async fn errors(apps: &Apps) -> Result<[f64; 2]> {
    let page = apps.shop.get(&apps.names[0], "app", "/metrics").await?.body;
    let mut counts = [0.0; 2];
    for (count, of) in counts.iter_mut().zip(["file", "cache"]) {
        let name = format!("hallpass_sidecar_{of}_errors_total ");
        let value = page.lines().find_map(|line| line.strip_prefix(&name));
        *count = value.context(name.clone())?.parse()?;
    }
    Ok(counts)
}

/// Waits until the token's file and the cache are others than those of before.
async fn written_again(files: &Path, cache: &Path) -> Result<()> {
    let freed = now();
    until(MINUTE, "files and cache are written again", || async {
        for file in [files.join("tokens").join(SHORT), cache.join(CACHE)] {
            let written: Timestamp = fs::metadata(&file)?.modified()?.try_into()?;
            ensure!(written >= freed, "{} is of {written}", file.display());
        }
        token(files)?.context("no token")?;
        cached(cache)
    })
    .await
}

impl Hindered {
    /// Writes until there is no room.
    fn full(volume: &Path) -> Result<Self> {
        let filler = volume.join("filler");
        let mut file = File::create(&filler)?;
        let hindered = Self::Full(filler);
        // in blocks, then byte by byte
        for size in [1 << 16, 1 << 10, 1] {
            loop {
                match file.write_all(&vec![0; size]) {
                    Ok(()) => {}
                    Err(full) if full.kind() == ErrorKind::StorageFull => break,
                    Err(other) => return Err(other).context("fill the volume"),
                }
                ensure!(file.metadata()?.len() < 1 << 24, "the volume has no limit");
            }
        }
        Ok(hindered)
    }

    fn read_only(volume: &Path) -> Result<Self> {
        let hindered = Self::ReadOnly(volume.to_owned());
        remounted(volume, "ro")?;
        Ok(hindered)
    }

    fn is_there(&self) -> Result<()> {
        let Self::ReadOnly(volume) = self else {
            return Ok(());
        };
        let refused = File::create(volume.join("probe")).err();
        let refused = refused.map(|error| error.kind());
        ensure!(
            refused == Some(ErrorKind::ReadOnlyFilesystem),
            "{refused:?}"
        );
        Ok(())
    }
}

impl Drop for Hindered {
    fn drop(&mut self) {
        let freed = match self {
            Self::Full(filler) => fs::remove_file(filler).map_err(Into::into),
            Self::ReadOnly(volume) => remounted(volume, "rw"),
        };
        if let Err(why) = freed {
            remark(&format!("a volume stays as it was made: {why:#}"));
        }
    }
}

/// Mounts the volume anew, for all who have it.
fn remounted(volume: &Path, how: &str) -> Result<()> {
    let options = ["-o", &format!("remount,{how}")];
    let mounted = Command::new("mount").args(options).arg(volume).status()?;
    ensure!(mounted.success(), "mount {options:?} {}", volume.display());
    Ok(())
}

/// The end of the short token whose file is there: a whole one.
fn token(volume: &Path) -> Result<Option<i64>> {
    let file = volume.join("tokens").join(SHORT);
    let token = match fs::read_to_string(&file) {
        Ok(token) => token,
        Err(absent) if absent.kind() == ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(other).context("read the file"),
    };
    let claims = claims(&token).context("a torn file")?;
    ensure!(token.matches('.').count() == 2, "a torn file");
    Ok(Some(claims["exp"].as_i64().context("no exp")?))
}

/// The cache is a whole one: a line with a digest, and a document.
fn cached(volume: &Path) -> Result<()> {
    let cache = fs::read_to_string(volume.join(CACHE))?;
    let document = cache.lines().nth(1).context("half a cache")?;
    let document: Value = serde_json::from_str(document).context("a torn cache")?;
    ensure!(document.is_object(), "a torn cache");
    Ok(())
}

const CACHE: &str = "tokens.json";
