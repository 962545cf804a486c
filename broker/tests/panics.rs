//! What a bug may cost: a restart, not a thread that is missing for good.
#![allow(clippy::unwrap_used, reason = "a test that can not continue fails here")]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::mpsc;

use ottla_broker::env::{Workers, end_on_panic};

const SIGABRT: i32 = 6;

#[test]
fn a_worker_that_panics_ends_the_process() {
    if std::env::var_os("OTTLA_TEST_CHILD").is_some() {
        return panic_on_a_worker();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_worker_that_panics_ends_the_process", "--nocapture"]).env("OTTLA_TEST_CHILD", "1");
    let ended = child.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{said}");
    assert!(said.contains("a bug of ours"), "{said}");
}

/// Returns only if the process outlives the panic.
fn panic_on_a_worker() {
    end_on_panic();
    let (alive, gone) = mpsc::channel::<()>();
    Workers::start(1).unwrap().start_job(move || {
        let _alive = alive;
        panic!("a bug of ours");
    });
    let _ = gone.recv();
}
