//! `ServerManager`: the one object that is always there.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Code, Error, NoParams, Ref, params};

use super::{media_object, names};
use crate::class::Class;
use crate::object::{Object, ObjectCore};
use crate::registry::VERSION;
use crate::server::Server;
use crate::types::{ModuleInfo, ServerInfo, ServerType};

params! {
    /// Parameters of `getKmd`.
    pub struct GetKmd {
        /// Name of the module, e.g. "core".
        module_name "moduleName": String,
    }

    /// Parameters of `drain`.
    pub struct Drain {
        /// How long pipelines may go on, seconds. Range 0 to 86,400; others are brought into it.
        timeout "timeout": i32,
    }

    /// Parameters of `getUsedCpu`.
    pub struct GetUsedCpu {
        /// How long to measure, milliseconds. Range 1 to 60,000; others are brought into it.
        interval "interval": i32 => 1000,
    }
}

/// The manager. Its id is "manager_ServerManager".
pub struct ServerManager {
    core: ObjectCore,
}

impl ServerManager {
    /// The manager of a server.
    pub(crate) fn new(server: &Server) -> ServerManager {
        let id = "manager_ServerManager".to_owned();
        ServerManager {
            core: ObjectCore::with_id(server, id, "kurento.ServerManager", None),
        }
    }
}

impl Object for ServerManager {
    fn core(&self) -> &ObjectCore {
        &self.core
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

/// The class. It can't be created: there is exactly one.
pub(super) fn class() -> Class<ServerManager> {
    Class::<ServerManager>::new("ServerManager", "core", "The server itself: what it is, what it has, what it uses.")
        .extends(media_object::class())
        .property("info", "Version, modules and capabilities.", |this| {
            this.core().server().map(|s| server_info(&s))
        })
        .property_for("pipelines", "All pipelines; a tenant's own.", |_, call| {
            let pipelines = call.server.objects_of(call.tenant(), "kurento.MediaPipeline");
            pipelines.into_iter().map(Ref::<names::MediaPipeline>::new).collect::<Vec<_>>()
        })
        .property_for("sessions", "Ids of all sessions; a tenant's own. The operator sees those of tenants as `tenant/id`.", |_, call| {
            call.server.sessions(call.tenant())
        })
        .property("metadata", "Text the operator set for this server.", |this| {
            this.core().server().map(|s| s.settings().metadata.clone()).unwrap_or_default()
        })
        .method(
            "getKmd",
            "The description of a module as JSON text. Error 40500 if there is no such module.",
            |_, call, p: GetKmd| {
                protocol::kmd::kmd(call.server.api(), &p.module_name)
                    .ok_or_else(|| Error::new(Code::ModuleNotFound, "Requested kmd module doesn't exist"))
            },
        )
        .method("getCpuCount", "How many CPUs the server may use.", |_, _, _: NoParams| {
            let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
            Ok(i32::try_from(cpus).unwrap_or(i32::MAX))
        })
        .async_method(
            "getUsedCpu",
            "Mean CPU use of the server over an interval, percent of all its CPUs (0 to 100). Answers when the interval is over.",
            |_, _, p: GetUsedCpu| async move { used_cpu(p.interval).await },
        )
        .waits()
        .method("getUsedMemory", "Resident memory of the server, KiB.", |_, _, _: NoParams| used_memory())
        .method(
            "drain",
            "Ends the server in an orderly way: no new pipelines are taken, and those that run may be ended by their clients, for so long at most. \
             Then, or once all have ended, the server ends. The operator's alone. Not in Kurento.",
            |_, call, p: Drain| {
                call.server.drain(Duration::from_secs(p.timeout.clamp(0, 86_400) as u64));
                Ok(())
            },
        )
        .event::<crate::events::ObjectCreated>()
        .event::<crate::events::ObjectDestroyed>()
        // There is one manager: what one tenant writes here others would read.
        .operators(&["drain", "setName", "setSendTagsInEvents", "addTag", "removeTag", "getTag", "getTags"])
}

fn server_info(server: &Server) -> ServerInfo {
    let registry = server.registry();
    let module = |m: &protocol::ModuleDef| ModuleInfo {
        version: m.version.to_owned(),
        name: m.name.to_owned(),
        generation_time: server.settings().build_time.clone(),
        factories: registry.factories(m.name),
    };
    ServerInfo {
        version: VERSION.to_owned(),
        modules: registry.modules().iter().map(module).collect(),
        server_type: ServerType::Kms,
        capabilities: vec!["transactions".into()],
    }
}

/// CPU time this process has used, in clock ticks, from /proc/self/stat (proc(5), fields 14 and 15).
fn cpu_ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

async fn used_cpu(interval: i32) -> Result<f32, Error> {
    /// Linux counts in hundredths of a second for user space on every architecture (USER_HZ).
    const TICKS_A_SECOND: f64 = 100.0;
    let unreadable = || Error::new(Code::Unexpected, "The CPU time of the server can't be read");
    let interval = Duration::from_millis(interval.clamp(1, 60_000) as u64);
    let (before, start) = (cpu_ticks().ok_or_else(unreadable)?, std::time::Instant::now());
    tokio::time::sleep(interval).await;
    let used = (cpu_ticks().ok_or_else(unreadable)? - before) as f64 / TICKS_A_SECOND;
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get()) as f64;
    Ok((100.0 * used / (start.elapsed().as_secs_f64() * cpus)).min(100.0) as f32)
}

fn used_memory() -> Result<i64, Error> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| Error::new(Code::Unexpected, "The memory of the server can't be read"))
}
