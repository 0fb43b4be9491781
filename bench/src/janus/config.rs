//! A folder of configuration for one run of Janus.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// Plugins and transports of Debian's package that would only start threads here.
const NOT_NEEDED: [(&str, &[&str]); 2] = [
    (
        "plugins",
        &[
            "audiobridge",
            "duktape",
            "lua",
            "nosip",
            "recordplay",
            "sip",
            "streaming",
            "textroom",
            "videocall",
            "voicemail",
        ],
    ),
    ("transports", &["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"]),
];

/// A temporary folder; gone when dropped.
pub(crate) struct ConfigFolder(PathBuf);

impl ConfigFolder {
    /// Writes a configuration: websocket at `listen`, media at `media`. All else is Janus's default.
    pub(crate) fn write(listen: SocketAddr, media: IpAddr) -> Result<ConfigFolder> {
        let path = std::env::temp_dir().join(format!("kms-bench-janus-{}", std::process::id()));
        let what = "writing Janus's configuration";
        std::fs::create_dir_all(&path).context(what)?;
        let folder = ConfigFolder(path);
        let write = |file: &str, text: String| std::fs::write(folder.0.join(file), text).context(what);
        write("janus.jcfg", main_file(media))?;
        write("janus.transport.websockets.jcfg", websocket_file(listen))?;
        Ok(folder)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ConfigFolder {
    fn drop(&mut self) {
        // What stays is a file of a few lines in the system's folder for such.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main_file(media: IpAddr) -> String {
    // No timeout of sessions: the load sends no keep-alive requests. Debug level 2: errors and warnings.
    let mut text = "general: { debug_level = 2 session_timeout = 0 }\n".to_owned();
    text += &format!("nat: {{ ice_enforce_list = \"{media}\" }}\n");
    for (group, names) in NOT_NEEDED {
        let files: Vec<String> = names.iter().map(|n| format!("libjanus_{n}.so")).collect();
        text += &format!("{group}: {{ disable = \"{}\" }}\n", files.join(","));
    }
    text
}

fn websocket_file(listen: SocketAddr) -> String {
    let (ip, port) = (listen.ip(), listen.port());
    format!("general: {{ json = \"compact\" ws = true ws_port = {port} ws_ip = \"{ip}\" wss = false }}\n")
}
