//! What somebody else in the pod may try, or somebody on the way to the operator.

use std::{
    fs,
    future::pending,
    io::{IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::AsFd as _,
        unix::{fs::symlink, net},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use hallpass_sidecar::{
    app::{self, StartError},
    config::{Config, Operator},
    surroundings::{Jitter, Surroundings},
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::{
    net::UnixStream,
    time::{interval, timeout},
};

use crate::support::{
    Plan, Pod,
    clock::TestClock,
    eventually,
    operator::{FakeOperator, problem},
    pass,
    program::{Library, Program},
    read,
    request::get,
};

#[tokio::test]
async fn t28_what_no_sidecar_made_at_its_paths_stays_there_and_is_named() {
    let link = |path: &Path| symlink("/nowhere", path);
    let file = |path: &Path| fs::write(path, "anothers");
    let cases: [(&str, Put<'_>, &str); 6] = [
        ("hallpass.sock", &file, "a file"),
        ("hallpass.sock", &link, "a symbolic link"),
        ("hallpass.sock", &|path| fs::create_dir(path), "a directory"),
        (".hallpass.sock.new", &file, "a file"),
        ("tokens", &link, "a symbolic link"),
        ("tokens", &file, "a file"),
    ];
    for (name, put, what) in cases {
        let directory = tempfile::tempdir().unwrap();
        let container = directory.path().join("run/app");
        fs::create_dir_all(&container).unwrap();
        let path = container.join(name);
        put(&path).unwrap();
        let before = path.symlink_metadata().unwrap();
        let refused = start(directory.path()).await.unwrap_err();
        let said = chain(&refused);
        assert!(said.contains("container app"), "{said}");
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains(&format!(": {what} of user ")), "{said}");
        let after = path.symlink_metadata().unwrap();
        assert_eq!(after.file_type(), before.file_type(), "{name}: {what}");
    }
}

#[tokio::test]
async fn t28_nothing_is_removed_or_made_where_a_link_leads() {
    let directory = tempfile::tempdir().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("kept"), "anothers").unwrap();
    let run = directory.path().join("run");
    fs::create_dir_all(run.join("app")).unwrap();
    symlink(&elsewhere, run.join("app/tokens")).unwrap();
    start(directory.path()).await.unwrap_err();
    fs::remove_dir_all(run.join("app")).unwrap();
    symlink(&elsewhere, run.join("app")).unwrap();
    let refused = start(directory.path()).await.unwrap_err();
    assert!(
        matches!(refused, StartError::NoContainers { .. }),
        "{refused}"
    );
    let there = fs::read_dir(&elsewhere).unwrap();
    let there: Vec<_> = there.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there, ["kept"]);
}

#[tokio::test]
async fn t28_ten_thousand_connections_leave_no_descriptor_behind() {
    let (_operator, program) = serving().await;
    let socket = program.socket();
    let before = descriptors(&program).len();
    let requests: [&[u8]; 4] = [
        b"",
        b"GET /v1/tokens/vault HT",
        b"GET /v1/tokens/vault HTTP/1.1\r\nhost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ];
    for _ in 0..100 {
        let mut streams = Vec::new();
        for request in requests.iter().cycle().take(100) {
            let mut stream = net::UnixStream::connect(&socket).unwrap();
            stream.write_all(request).unwrap();
            streams.push(stream);
        }
    }
    settles(&program, before).await;
    assert_eq!(get(&socket, "/v1/tokens/vault", &[]).await.status, 200);
}

#[tokio::test]
async fn t28_a_descriptor_that_is_sent_along_is_not_taken() {
    let (_operator, program) = serving().await;
    let before = descriptors(&program).len();
    let (gift, mut other_end) = net::UnixStream::pair().unwrap();
    let mut stream = net::UnixStream::connect(program.socket()).unwrap();
    let request = b"GET /v1/tokens/vault HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    let gifts = [gift.as_fd()];
    assert!(along.push(SendAncillaryMessage::ScmRights(&gifts)));
    let sent = sendmsg(
        &stream,
        &[IoSlice::new(request)],
        &mut along,
        SendFlags::empty(),
    );
    assert_eq!(sent.unwrap(), request.len());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(gift);
    // It ends once nobody has the other end any more.
    other_end.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(other_end.read(&mut [0]).unwrap(), 0);
    drop(stream);
    settles(&program, before).await;
}

#[tokio::test]
async fn t29_a_sidecar_listens_on_its_sockets_and_on_no_port() {
    let (_operator, program) = serving().await;
    let mine = descriptors(&program);
    let is_mine = |inode: Option<&str>| {
        inode.is_some_and(|inode| mine.contains(&format!("socket:[{inode}]")))
    };
    for protocol in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
        let table = table(&program, protocol);
        let open = table.lines().skip(1).map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            (fields[2].to_owned(), fields[9].to_owned())
        });
        // Whoever has no peer takes what comes from anywhere.
        let mut open = open.filter(|(peer, inode)| is_mine(Some(inode)) && peer.ends_with(":0000"));
        assert_eq!(open.next(), None, "{protocol}");
    }
    let unix = table(&program, "unix");
    let listening = unix.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let listens = fields[3] == ACCEPTS && is_mine(fields.get(6).copied());
        listens.then(|| fields.get(7).copied().unwrap_or_default().to_owned())
    });
    let listening: Vec<_> = listening.collect();
    // The kernel goes by the name that it was bound to, which it lost when it was moved into place.
    assert_eq!(listening, ["/run/hallpass/app/.hallpass.sock.new"]);
}

#[tokio::test(start_paused = true)]
async fn t29_no_page_of_another_origin_is_allowed_to_read() {
    let pod = Pod::with_tokens(&["vault"]).await;
    pod.token("vault").await;
    let origin = ("origin", "https://other.example");
    for target in ["/v1/tokens/vault", "/v1/tokens", "/readyz", "/metrics"] {
        let answer = get(&pod.socket("app"), target, &[origin]).await;
        assert_eq!(answer.status, 200, "{target}");
        let mut names = answer.headers.keys().map(|name| name.as_str());
        let allows = names.find(|name| name.starts_with("access-control-") || *name == "location");
        assert_eq!(allows, None, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn t29_where_an_answer_of_the_operator_leads_nobody_is_asked() {
    let plan = Plan::default();
    let pod = Pod::planned(plan, |operator| {
        operator.assign("vault", "https://vault.example", 600);
        let mut elsewhere = problem("Moved", 307, "ask the other one");
        let location = format!("https://{}/v1/assignments", operator.other());
        elsewhere["location"] = location.into();
        operator.refuse_all(Some(elsewhere));
    })
    .await;
    let asked = async || !pod.operator.asked("/v1/assignments").is_empty();
    eventually("asked", asked).await;
    pass(Duration::from_secs(120)).await;
    let asked = pod.operator.asked("/v1/assignments");
    assert!(asked.len() > 1, "it tries again: {asked:?}");
    assert_eq!(asked.iter().find(|asked| asked.replica == 1), None);
    assert_eq!(pod.state("vault").await, "absent");
    pod.operator.refuse_all(None);
    pass(Duration::from_secs(120)).await;
    assert_eq!(pod.token("vault").await, "planted.vault.1");
}

/// Puts something at a path.
type Put<'a> = &'a dyn Fn(&Path) -> std::io::Result<()>;

/// Starts a sidecar whose containers' directories are there.
async fn start(directory: &Path) -> Result<(), StartError> {
    let config = Config {
        operator: Operator::parse("127.0.0.1:1").unwrap(),
        replicas: None,
        containers: directory.join("run"),
        identity: directory.join("token"),
        trust: directory.join("ca.pem"),
        cache: directory.join("cache"),
        ca: None,
    };
    let surroundings = Surroundings {
        clock: TestClock::new().clock(),
        jitter: Jitter::new(|| 0.5),
    };
    let serving = app::serve(config, surroundings, pending());
    timeout(PATIENCE, serving).await.unwrap()
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let said: Vec<_> = causes.map(|error| error.to_string()).collect();
    said.join(": ")
}

/// The program as a process, once it serves a token.
async fn serving() -> (FakeOperator, Program) {
    let clock = TestClock::new();
    let operator = FakeOperator::start(clock.clone()).await;
    operator.assign("vault", "https://vault.example", 600);
    let mut program = Program::new(&Library::compile(), &operator, clock);
    program.start();
    let served = async {
        let mut beat = interval(Duration::from_millis(20));
        loop {
            beat.tick().await;
            let socket = program.socket();
            if UnixStream::connect(&socket).await.is_ok()
                && get(&socket, "/v1/tokens/vault", &[]).await.status == 200
            {
                return;
            }
        }
    };
    let served = timeout(PATIENCE, served).await;
    assert!(served.is_ok(), "{}", program.log());
    (operator, program)
}

/// What each descriptor of that process leads to.
fn descriptors(program: &Program) -> Vec<String> {
    let folder = fs::read_dir(proc(program).join("fd")).unwrap();
    let links = folder.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

/// Waits until it has no more descriptors than that.
async fn settles(program: &Program, before: usize) {
    let settled = async {
        let mut beat = interval(Duration::from_millis(20));
        while descriptors(program).len() > before {
            beat.tick().await;
        }
    };
    let settled = timeout(PATIENCE, settled).await;
    assert!(settled.is_ok(), "{:?}", descriptors(program));
}

/// The sockets of that kind in its network namespace.
fn table(program: &Program, protocol: &str) -> String {
    read(&proc(program).join("net").join(protocol))
}

fn proc(program: &Program) -> PathBuf {
    PathBuf::from(format!("/proc/{}", program.pid()))
}

const PATIENCE: Duration = Duration::from_secs(20);
/// `__SO_ACCEPTCON` of the kernel, as it prints it.
const ACCEPTS: &str = "00010000";
