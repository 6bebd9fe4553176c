//! Ctrl-C and SIGTERM, for every run of this process.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Becomes `Some` when somebody asks the process to stop. Must be called within a runtime.
///
/// A second signal is for the impatient: it ends the process at once, and the kernel then ends the
/// nodes.
pub(crate) fn watch_interrupts() -> std::io::Result<watch::Receiver<Option<&'static str>>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        for attempt in 1.. {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            };
            if attempt > 1 {
                #[expect(clippy::exit, reason = "asked for twice; the kernel kills the nodes")]
                std::process::exit(130);
            }
            sender.send_replace(Some(name));
        }
    });
    Ok(receiver)
}
