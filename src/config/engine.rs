//! What the configuration means for the WebRTC transport and for recordings.

use std::net::SocketAddr;
use std::thread::available_parallelism;

use kms_core::Reach;
use kms_elements::recorder::{Proxies, S3, Storage};
use kms_elements::rtp::PortRange;
use kms_elements::webrtc::api::{EngineSettings, GatherSettings};
use kms_filters::ModelPaths;

use super::{Filters, Recorder, WebRtc};

/// First port of a range of which only the end was given: below it ports are privileged. Kurento's choice too.
const FIRST_PORT: u16 = 1024;

impl Recorder {
    /// Where recordings go that don't stay here.
    pub(crate) fn storage(&self, [operators, tenants]: &[Reach; 2]) -> Storage {
        Storage {
            proxies: Proxies {
                operators: operators.proxy(),
                tenants: tenants.proxy(),
            },
            spool: self.spool.clone(),
            s3: S3 {
                endpoint: self.s3_endpoint.clone(),
                region: self.s3_region.clone(),
                access_key_id: self.s3_access_key_id.clone(),
                secret_access_key: self.s3_secret_access_key.as_ref().map(|key| key.0.clone()),
            },
        }
    }
}

impl Filters {
    /// The models that faces are found and recognised with.
    pub(crate) fn models(&self) -> ModelPaths {
        ModelPaths {
            detector: self.face_detector_model.clone(),
            recognizer: self.face_recognizer_model.clone(),
        }
    }
}

impl WebRtc {
    /// Number of worker threads, 1 or more.
    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => available_parallelism().map_or(1, |cores| cores.get()),
            workers => workers,
        }
    }

    /// First and last UDP port; both 0 for any.
    fn port_range(&self) -> (u16, u16) {
        match (self.min_port, self.max_port) {
            (0, 0) => (0, 0),
            (0, max) => (FIRST_PORT.min(max), max),
            (min, 0) => (min, u16::MAX),
            range => range,
        }
    }

    /// The process-wide settings of the engine.
    pub(crate) fn engine_settings(&self) -> EngineSettings {
        let (min_port, max_port) = self.port_range();
        EngineSettings {
            workers: self.worker_count(),
            min_port,
            max_port,
            shared_port: (self.shared_port != 0).then_some(self.shared_port),
            ice_tcp_port: self.ice_tcp.then_some(self.ice_tcp_port),
            bandwidth_estimation: self.bandwidth_estimation,
        }
    }

    /// What endpoints of RTP without WebRTC start with.
    pub(crate) fn rtp_settings(&self) -> kms_elements::rtp::Defaults {
        let (first, last) = self.port_range();
        kms_elements::rtp::Defaults {
            ports: PortRange { first, last },
            gather: self.gather_settings(),
            mtu: self.mtu,
        }
    }

    /// What an endpoint gathers unless its properties say otherwise.
    pub(crate) fn gather_settings(&self) -> GatherSettings {
        GatherSettings {
            network_interfaces: self.network_interfaces.names().to_vec(),
            external_ipv4: self.external_ipv4,
            external_ipv6: self.external_ipv6,
            ice_tcp: self.ice_tcp,
            stun_server: self
                .stun_address
                .map(|address| SocketAddr::new(address, self.stun_port)),
            turn_server: self.turn_url.as_ref().map(|url| url.server().clone()),
        }
    }
}
