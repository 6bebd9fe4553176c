//! Ctrl-C and SIGTERM, for every run of this process.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Becomes `Some` when somebody asks the process to stop, or when `cancel` turns true. Must be
/// called within a runtime.
///
/// A second signal is for the impatient: it ends the process at once, and the kernel then ends the
/// nodes.
pub(crate) fn watch_interrupts_or(
    mut cancel: watch::Receiver<bool>,
) -> std::io::Result<watch::Receiver<Option<&'static str>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut signals = 0;
        let mut may_cancel = true;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                cancelled = cancel.wait_for(|cancelled| *cancelled), if may_cancel => {
                    may_cancel = false;
                    if cancelled.is_ok() {
                        sender.send_replace(Some("its harness"));
                    }
                    continue;
                }
            };
            signals += 1;
            if signals > 1 {
                #[expect(clippy::exit, reason = "asked for twice; the kernel kills the nodes")]
                std::process::exit(130);
            }
            sender.send_replace(Some(name));
        }
    });
    Ok(receiver)
}
