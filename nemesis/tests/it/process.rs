use std::{
    process::{Command, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{sync::mpsc, time::timeout};
use usurper_nemesis::{Exit, Output, Process, Stream, process_state};

const PATIENCE: Duration = Duration::from_secs(10);

/// A shell script as a node, and its output.
fn spawn(script: &str) -> (Process, mpsc::Receiver<Output>) {
    let (sender, receiver) = mpsc::channel(100);
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    (Process::spawn(command, sender, |output| output).unwrap(), receiver)
}

async fn next(receiver: &mut mpsc::Receiver<Output>) -> Output {
    timeout(PATIENCE, receiver.recv()).await.expect("output in time").expect("a last output")
}

async fn next_line(receiver: &mut mpsc::Receiver<Output>) -> String {
    match next(receiver).await {
        Output::Line(Stream::Stdout, line) => String::from_utf8(line).unwrap(),
        other => panic!("expected a line, got {other:?}"),
    }
}

/// Waits until the kernel shows a state.
async fn becomes(pid: u32, wanted: impl Fn(Option<char>) -> bool) {
    let look = async {
        while !wanted(process_state(pid)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let last = timeout(PATIENCE, look).await;
    assert!(last.is_ok(), "state is {:?}", process_state(pid));
}

#[tokio::test]
async fn lines_come_in_order_and_the_exit_comes_last() {
    let (process, mut output) = spawn("echo one; echo two; printf half; exit 7");
    assert_eq!(next_line(&mut output).await, "one");
    assert_eq!(next_line(&mut output).await, "two");
    assert!(
        matches!(next(&mut output).await, Output::Torn(Stream::Stdout, bytes) if bytes == b"half")
    );
    let exit = Exit { code: Some(7), signal: None };
    assert!(matches!(next(&mut output).await, Output::Exited(seen) if seen == exit));
    assert_eq!(process.ended().await, exit);
    assert!(process.signal(Signal::SIGKILL).await.is_err(), "there is nothing left to signal");
}

#[tokio::test]
async fn the_last_lines_are_not_lost_on_whoever_takes_them_late() {
    let (sender, mut output) = mpsc::channel(1);
    let mut command = Command::new("seq");
    command.args(["1", "500"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = Process::spawn(command, sender, |output| output).unwrap();
    becomes(process.pid(), |state| state.is_none()).await;
    // Longer than a silent pipe is listened to.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for number in 1..=500 {
        assert_eq!(next_line(&mut output).await, number.to_string());
    }
    assert!(matches!(next(&mut output).await, Output::Exited(_)));
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_open_does_not_hide_the_end() {
    let (process, mut output) = spawn("sleep 60 & echo $!");
    let child: i32 = next_line(&mut output).await.parse().unwrap();
    assert!(matches!(next(&mut output).await, Output::Exited(_)));
    assert_eq!(process.exit(), Some(Exit { code: Some(0), signal: None }));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_pause_stops_a_process_and_a_resume_lets_it_go_on() {
    // One process: a shell that forks may be stopped in the middle of that.
    let (process, mut output) = spawn("exec yes tick");
    next_line(&mut output).await;
    process.signal(Signal::SIGSTOP).await.unwrap();
    becomes(process.pid(), |state| state == Some('T')).await;
    while timeout(Duration::from_millis(100), output.recv()).await.is_ok() {}
    process.signal(Signal::SIGCONT).await.unwrap();
    assert_eq!(next_line(&mut output).await, "tick");
    process.signal(Signal::SIGKILL).await.unwrap();
    // Whoever does not read what a process said does not get to hear of its end.
    let exit = loop {
        if let Output::Exited(exit) = next(&mut output).await {
            break exit;
        }
    };
    assert_eq!(exit.signal, Some(9));
    becomes(process.pid(), |state| state.is_none()).await;
}

#[tokio::test]
async fn children_of_a_killed_process_die_with_it() {
    let (process, mut output) = spawn("sleep 1000 & echo $!; wait");
    let child: u32 = next_line(&mut output).await.parse().unwrap();
    assert!(process_state(child).is_some());
    process.signal(Signal::SIGKILL).await.unwrap();
    process.ended().await;
    becomes(child, |state| matches!(state, None | Some('Z'))).await;
}

#[test]
fn a_process_does_not_outlive_the_thread_that_started_it() {
    let thread = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (process, mut output) = spawn("echo up; exec sleep 1000");
            next_line(&mut output).await;
            process.pid()
        })
    });
    let pid = thread.join().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(becomes(pid, |state| matches!(state, None | Some('Z'))));
}
