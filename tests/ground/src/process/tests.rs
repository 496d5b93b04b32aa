use super::*;

fn shell(place: &Path, script: &str, lifetime: Lifetime) -> Launch {
    Launch {
        name: "shell".into(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
        command_prefix: Vec::new(),
        folder: None,
        log: place.join("log"),
        pidfile: place.join("pid"),
        lifetime,
    }
}

#[tokio::test]
async fn readiness_is_judged_by_what_this_start_wrote() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("log"), "hello from before\n").unwrap();
    let mut process = Process::start(&shell(place.path(), "sleep 0.1; echo $GREETING again; exec sleep 100", Lifetime::WithHandle)).unwrap();
    process.wait_until(Duration::from_secs(10), |process| process.output().contains("hello")).await.unwrap();
    assert_eq!(process.output(), "hello again\n");
    process.stop(Duration::from_secs(10)).await.unwrap();
    assert!(!process.is_running());
}

#[tokio::test]
async fn a_process_that_dies_early_is_quoted() {
    let place = tempfile::tempdir().unwrap();
    let mut process = Process::start(&shell(place.path(), "sleep 0.1; echo port taken >&2; exit 1", Lifetime::WithHandle)).unwrap();
    let error = process.wait_until(Duration::from_secs(10), |_| false).await.unwrap_err().to_string();
    assert!(error.contains("ended before it was ready") && error.contains("port taken"), "{error}");
}

#[tokio::test]
async fn a_dropped_handle_takes_the_whole_group_along() {
    let place = tempfile::tempdir().unwrap();
    let mut process = Process::start(&shell(place.path(), "sleep 100 & echo child $!; wait", Lifetime::WithHandle)).unwrap();
    process.wait_until(Duration::from_secs(10), |process| process.output().contains('\n')).await.unwrap();
    let child: u32 = process.output().trim().strip_prefix("child ").unwrap().parse().unwrap();
    let child = Identity::of(child).unwrap();
    drop(process);
    let deadline = Instant::now() + Duration::from_secs(5);
    while child.is_alive() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    assert!(!child.is_alive());
}

#[tokio::test]
async fn a_detached_process_is_found_again_by_its_pidfile() {
    let place = tempfile::tempdir().unwrap();
    let launch = shell(place.path(), "exec sleep 100", Lifetime::Detached);
    let first = Process::start(&launch).unwrap();
    let pid = first.pid();
    drop(first);
    let mut again = Process::attach(&launch).unwrap();
    assert_eq!((again.pid(), again.is_running()), (pid, true));
    again.kill().await.unwrap();
    assert!(Process::attach(&launch).is_none());
}

/// The part of the next test that is killed: it runs in a process of its own, and does nothing in an ordinary run.
#[test]
fn starts_a_server_and_waits_to_be_killed() {
    let Some(place) = std::env::var_os("TAPEKEEPER_TEST_PLACE") else { return };
    let launch = shell(Path::new(&place), "exec sleep 100", Lifetime::WithHandle);
    // From a thread that ends at once: what counts is the process.
    let _process = std::thread::spawn(move || Process::start(&launch).unwrap()).join().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_killed_test_leaves_no_server_behind() {
    let place = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::tests::starts_a_server_and_waits_to_be_killed"])
        .env("TAPEKEEPER_TEST_PLACE", place.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |what: &str, holds: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(POLL);
        }
    };
    let pidfile = place.path().join("pid");
    wait_for("the server starts", &|| Identity::read(&pidfile).is_some());
    let server = Identity::read(&pidfile).unwrap();
    // Long enough for its thread to have ended, and for `setpriv` to have done its work.
    std::thread::sleep(Duration::from_millis(500));
    assert!(server.is_alive());
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for("the server ends", &|| !server.is_alive());
}

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_after_the_bound() {
    let place = tempfile::tempdir().unwrap();
    let script = "trap '' TERM; echo ready; while true; do sleep 0.1; done";
    let mut process = Process::start(&shell(place.path(), script, Lifetime::WithHandle)).unwrap();
    process.wait_until(Duration::from_secs(10), |process| process.output().contains("ready")).await.unwrap();
    process.stop(Duration::from_millis(200)).await.unwrap();
    assert!(!process.is_running());
}

#[test]
fn only_listening_sockets_of_the_port_count() {
    let table = "  sl  local_address rem_address   st\n\
                 0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
                 1: 0100007F:1F91 0100007F:9999 01 00000000:00000000\n";
    assert!(has_listener(table, 8080));
    assert!(!has_listener(table, 8081));
}
