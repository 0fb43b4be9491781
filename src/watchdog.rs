//! Tells systemd that the daemon is well (sd_notify(3)), for as long as it is: one that hangs is started again.

use std::time::Duration;

use kms_core::Server;
use kms_elements::webrtc::engine::Engine;
use sd_notify::NotifyState;

/// A worker that carries media takes its turn four times a second, whatever there is to do.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// Tells systemd something, if it has started the daemon.
pub(crate) fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd can't be told how the daemon is");
    }
}

/// Tells systemd again and again that the daemon is well, if it wants to know.
pub(crate) async fn watch(engine: Engine, server: Server) {
    let Some(period) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut look = tokio::time::interval((period / 3).max(Duration::from_millis(10)));
    loop {
        look.tick().await;
        // Each object is looked up under the lock that all requests take: where that hangs, this hangs too.
        let (engine, asked) = (engine.clone(), server.clone());
        let well = tokio::task::spawn_blocking(move || {
            let _ = asked.objects_by_class();
            engine.stuck_workers(LONGEST_TURN)
        });
        match well.await {
            Ok(stuck) if stuck.is_empty() => tell(&[NotifyState::Watchdog]),
            Ok(stuck) => {
                tracing::error!(workers = ?stuck, "workers hang: systemd will start the daemon again")
            }
            Err(error) => tracing::error!(%error, "how the daemon is can't be found out"),
        }
    }
}
