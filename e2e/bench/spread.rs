//! B4: when pods that all started at once come for their next tokens, over a day that is computed and not waited
//! for: by the rule of the sidecar, and by the kubelet's.

use std::time::Duration;

use hallpass_core::lifetime::{refresh_after, retry_after};

use crate::report::{Bar, Report};

/// How many pods, and whether the promise is about so many.
const SIZES: [(u32, bool); 3] = [(1000, false), (10_000, true), (100_000, false)];
const LIFE: Duration = Duration::from_secs(3600);
const HOURS: usize = 24;
const DAY: Duration = Duration::from_secs(HOURS as u64 * 3600);
/// The part of the tries that fail.
const FAIL: f64 = 0.01;
/// Another one gives other figures, of the same kind.
const SEED: u64 = 4;
const PEER: &str = "the kubelet's rule for its files";
/// The minute in which the first pods come for their second token: a fifth of the life after all had their first.
const FIRST_DUE: usize = 12;
const MOST: f64 = 1.6;

/// The tries that came in each second of the day.
struct Day {
    pods: u32,
    seconds: Vec<u32>,
    lost: u32,
}

pub(crate) fn measure(report: &mut Report) {
    for (pods, promised) in SIZES {
        let days = (Day::of(pods, sidecar), Day::of(pods, kubelet));
        let rows = Rows::of(pods, promised);
        rows.by_the_day(report, &days);
        rows.by_the_hour(report, &days);
        rows.tries(report, &days);
        if promised {
            rows.at_once(report);
        }
    }
}

/// What is told of so many pods.
struct Rows {
    pods: u32,
    promised: bool,
    conditions: String,
}

impl Rows {
    fn of(pods: u32, promised: bool) -> Self {
        Self {
            pods,
            promised,
            conditions: format!(
                "computed: {pods} pods that start at once, one token of 1 h each, 24 h, every hundredth try fails, seed \
                 {SEED}; mean = tries of the day / bins of the day, where no other is said; the fetch at the start is not \
                 counted. The fewer the pods, the more of it is chance: a bin of 60 s of 1,000 pods has 26 tries in the mean"
            ),
        }
    }

    fn row(&self, report: &mut Report, metric: &str, (ours, theirs): (f64, f64), bar: Option<Bar>) {
        let metric = format!("{} pods: {metric}", self.pods);
        report.add("B4", &metric, (ours, ""), &self.conditions);
        report.beside(PEER, theirs);
        if let Some(bar) = bar.filter(|_| self.promised) {
            report.bar(bar);
        }
    }

    fn by_the_day(&self, report: &mut Report, (ours, theirs): &(Day, Day)) {
        for bin in [60, 10] {
            for (hours, name) in [(0..1, "first"), (1..HOURS, "worst later")] {
                let peak = |day: &Day| {
                    let peaks = hours.clone().map(|hour| day.peak(bin, hour));
                    peaks.fold(0.0, f64::max) / day.mean(bin)
                };
                let metric = format!("peak / mean, {bin} s bins, {name} hour");
                let bar = (bin == 60).then_some(Bar::Value(MOST));
                self.row(report, &metric, (peak(ours), peak(theirs)), bar);
            }
        }
    }

    /// By the mean of that hour alone. In the first one nobody comes for a while, which makes its mean small: it is
    /// told as it is, and from then on.
    fn by_the_hour(&self, report: &mut Report, (ours, theirs): &(Day, Day)) {
        let both = |of: fn(&Day) -> f64| (of(ours), of(theirs));
        let first = both(|day| day.peak(60, 0) / mean(day.hour(0), 60));
        let metric = "first hour, by its own mean";
        self.row(report, metric, first, Some(Bar::Shown(MOST)));
        let due = both(|day| day.peak(60, 0) / mean(&day.hour(0)[FIRST_DUE * 60..], 60));
        let metric = "first hour, by its own mean from minute 12 on";
        self.row(report, metric, due, Some(Bar::Value(MOST)));
        let later = both(|day| {
            let all = (1..HOURS).map(|hour| day.peak(60, hour) / mean(day.hour(hour), 60));
            all.fold(0.0, f64::max)
        });
        let metric = "worst later hour, by its own mean";
        self.row(report, metric, later, Some(Bar::Value(MOST)));
    }

    fn tries(&self, report: &mut Report, (ours, theirs): &(Day, Day)) {
        let each = |day: &Day| f64::from(day.seconds.iter().sum::<u32>()) / f64::from(day.pods);
        self.row(
            report,
            "tries of a pod in a day",
            (each(ours), each(theirs)),
            None,
        );
        let lost = (f64::from(ours.lost), f64::from(theirs.lost));
        self.row(report, "tokens that ended before the next", lost, None);
    }

    /// Why others say 290 of the kubelet, and here it is a seventh of that.
    fn at_once(&self, report: &mut Report) {
        let day = Day::of(self.pods, watched);
        let metric = format!(
            "{} pods: the kubelet's rule without syncs, 10 s bins",
            self.pods
        );
        let how = "as above, but whether a token is to be replaced is looked at each second and not once in the 60 to 90 s \
             between two syncs of a pod: then all come within the 10 s of the rule's own jitter, once in 48 min, which is \
             one bin of 288. The syncs spread them over more than a minute, and that is what the rule above has";
        let peak = day.peak(10, 0) / day.mean(10);
        report.add("B4", &metric, (peak, ""), how);
    }
}

impl Day {
    fn of(pods: u32, pod: fn(&mut Random, &mut Self)) -> Self {
        let mut day = Self {
            pods,
            seconds: vec![0; HOURS * 3600],
            lost: 0,
        };
        let mut random = Random(SEED);
        for _ in 0..pods {
            pod(&mut random, &mut day);
        }
        day
    }

    /// Counts a try, if it is of this day.
    fn count(&mut self, at: Duration) {
        let second = usize::try_from(at.as_secs()).ok();
        if let Some(count) = second.and_then(|second| self.seconds.get_mut(second)) {
            *count += 1;
        }
    }

    /// The most in a bin of that many seconds within that hour.
    fn peak(&self, bin: usize, hour: usize) -> f64 {
        let bins = self.hour(hour).chunks(bin);
        f64::from(bins.map(|bin| bin.iter().sum()).max().unwrap_or(0))
    }

    fn mean(&self, bin: usize) -> f64 {
        mean(&self.seconds, bin)
    }

    fn hour(&self, hour: usize) -> &[u32] {
        &self.seconds[hour * 3600..(hour + 1) * 3600]
    }
}

fn mean(seconds: &[u32], bin: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "the seconds of a day")]
    let bins = seconds.len() as f64 / bin as f64;
    f64::from(seconds.iter().sum::<u32>()) / bins
}

/// A pod's day with the sidecar.
fn sidecar(random: &mut Random, day: &mut Day) {
    let (mut issued, mut first) = (Duration::ZERO, true);
    while issued < DAY {
        let (mut at, ends) = (
            issued + refresh_after(LIFE, first, random.next()),
            issued + LIFE,
        );
        let (window, mut failures) = (ends.checked_sub(at), 0);
        day.count(at);
        while random.next() < FAIL {
            failures += 1;
            at += retry_after(failures, window, random.next());
            day.count(at);
        }
        day.lost += u32::from(at > ends);
        (issued, first) = (at, false);
    }
}

/// A pod's day with the kubelet alone: each time the pod is synced it is looked whether four fifths of the life
/// have passed, or somewhat less (`pkg/kubelet/token/token_manager.go`, `requiresRefresh`; `maxTTL` is 24 h, which
/// no token here lives). A failed try is followed by one at the next sync.
fn kubelet(random: &mut Random, day: &mut Day) {
    // `resyncInterval` and `workerResyncIntervalJitterFactor` of pkg/kubelet
    looked_at(random, day, |random, at, _issued| {
        at + Duration::from_secs(60).mul_f64(1.0 + 0.5 * random.next())
    });
}

/// The same where it is looked each second.
fn watched(random: &mut Random, day: &mut Day) {
    // before that no look comes to anything
    looked_at(random, day, |_random, at, issued| {
        (at + Duration::from_secs(1)).max(issued + LIFE * 4 / 5 - JITTER)
    });
}

fn looked_at(
    random: &mut Random,
    day: &mut Day,
    next: fn(&mut Random, Duration, Duration) -> Duration,
) {
    let (mut issued, mut at) = (Duration::ZERO, Duration::ZERO);
    while at < DAY {
        at = next(random, at, issued);
        // whole seconds
        let jitter = Duration::from_secs((random.next() * JITTER.as_secs_f64()) as u64);
        if at <= issued + LIFE * 4 / 5 - jitter {
            continue;
        }
        day.count(at);
        if random.next() >= FAIL {
            day.lost += u32::from(at > issued + LIFE);
            issued = at;
        }
    }
}

/// `maxJitter` of the kubelet.
const JITTER: Duration = Duration::from_secs(10);

/// Numbers that are the same each time: `SplitMix64`.
struct Random(u64);

impl Random {
    /// Uniform in `0.0..1.0`.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        unit
    }
}
