//! The volume of a container is full.

use std::{fs, io::ErrorKind, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use hallpass_e2e::{
    apps::SHORT,
    token::claims,
    wait::{now, until},
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::fixture::{MINUTE, apps, lasts};

const LIFE: &str = "30s";

/// Two lives of the short tokens.
const FULL: Duration = Duration::from_secs(60);

#[tokio::test]
async fn f08_reads_are_served_and_no_file_is_torn_while_the_volume_is_full() -> Result<()> {
    let Some(apps) = apps("full", 2, LIFE).await? else {
        return Ok(());
    };
    let volume = apps.pods[0].directory();
    let filler = volume.join("filler");
    fill(&filler)?;
    let (since, mut looks) = (Instant::now(), 0);
    while since.elapsed() < FULL {
        whole_or_absent(&volume)?;
        looks += 1;
        lasts(Duration::from_millis(100)).await;
    }
    fs::remove_file(&filler)?;
    ensure!(looks > 100, "looked {looks} times");
    let freed = now();
    until(MINUTE, "the file is replaced again", || async {
        let file = volume.join("tokens").join(SHORT);
        let written: Timestamp = fs::metadata(&file)?.modified()?.try_into()?;
        ensure!(written >= freed, "it is of {written}");
        whole_or_absent(&volume)
    })
    .await?;
    let (_, verdict) = apps.end("a volume was full")?;
    verdict.all_served()?;
    ensure!(verdict.tokens >= 6, "{verdict}");
    Ok(())
}

/// Writes until there is no room.
fn fill(file: &Path) -> Result<()> {
    // in blocks, then byte by byte
    let mut written = Vec::new();
    for size in [1 << 16, 1 << 10, 1] {
        loop {
            let next = [written.as_slice(), &vec![0; size]].concat();
            match fs::write(file, &next) {
                Ok(()) => written = next,
                Err(full) if full.kind() == ErrorKind::StorageFull => break,
                Err(other) => return Err(other).context("fill the volume"),
            }
            ensure!(written.len() < 1 << 24, "the volume has no limit");
        }
        fs::write(file, &written)?;
    }
    Ok(())
}

/// Whether there is a file of the short token. It is a whole one, and not over.
fn whole_or_absent(volume: &Path) -> Result<bool> {
    let file = volume.join("tokens").join(SHORT);
    let token = match fs::read_to_string(&file) {
        Ok(token) => token,
        Err(absent) if absent.kind() == ErrorKind::NotFound => return Ok(false),
        Err(other) => return Err(other).context("read the file"),
    };
    let claims = claims(&token).context("a torn file")?;
    ensure!(token.matches('.').count() == 2, "a torn file");
    let expires = claims["exp"].as_i64().context("no exp")?;
    // it goes at its end, and may have been read just before
    ensure!(expires + 1 >= now().as_second(), "over since {expires}");
    Ok(true)
}
