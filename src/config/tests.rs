//! The configuration's contract: what is read, what wins, what is refused and with which words.

use std::path::{Path, PathBuf};

use kms_elements::webrtc::api::{BandwidthEstimation, TurnTransport};

use super::reference::reference_markdown;
use super::*;

/// Reads `toml` as the file kms.toml would be, with these variables.
fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    config.read_toml("kms.toml", toml)?;
    config.read_environment(
        environment
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string())),
    )?;
    config.check()?;
    Ok(config)
}

/// What `toml` and the variables are refused with.
fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
    load(toml, environment)
        .expect_err("should be refused")
        .to_string()
}

#[test]
fn documented_defaults_hold() {
    let config = Config::load(None, [], None).expect("nothing given is valid");
    let mut shown = String::new();
    for (section, key) in keys() {
        shown += &format!("{}.{} = {}\n", section.name, key.name, (key.get)(&config));
    }
    let expected = r#"server.listen = "127.0.0.1:8888"
server.tls_certificate = ""
server.tls_private_key = ""
server.drain_s = 0
server.path = "/kurento"
server.max_message_bytes = 4194304
server.event_queue_messages = 4096
server.event_queue_bytes = 4194304
server.max_connections = 4096
access.tokens = ""
access.jwt_secret = ""
access.jwt_public_keys = ""
access.jwt_tenant_claim = "tenant"
access.jwt_issuer = ""
access.jwt_audience = ""
access.allow_anonymous = false
access.origins = ""
limits.sessions = 10000
limits.sessions_per_tenant = 0
limits.pipelines = 10000
limits.pipelines_per_tenant = 0
limits.pipelines_per_session = 0
limits.objects = 100000
limits.objects_per_tenant = 0
limits.objects_per_session = 0
limits.subscriptions = 1000000
limits.subscriptions_per_tenant = 0
limits.subscriptions_per_session = 0
limits.connections_per_tenant = 0
limits.requests_per_second = 0
limits.min_free_files = 64
limits.min_free_memory_mib = 64
limits.max_cpu_percent = 0
files.roots = ""
files.tenant_roots = ""
network.allow = ""
network.deny = ""
network.tenant_deny = "0.0.0.0/8 127.0.0.0/8 169.254.0.0/16 224.0.0.0/4 255.255.255.255/32 100.100.100.200/32 ::/128 ::1/128 fe80::/10 ff00::/8 fd00:ec2::254/128"
session.garbage_collector_period_s = 240
session.request_cache_s = 20
log.level = "info"
log.format = "text"
console.enabled = "auto"
telemetry.traces_url = ""
telemetry.traces_percent = 100
uploads.public_url = ""
uploads.max_unindexed_bytes = 67108864
webrtc.min_port = 0
webrtc.max_port = 0
webrtc.shared_port = 0
webrtc.workers = 0
webrtc.stun_address = ""
webrtc.stun_port = 3478
webrtc.turn_url = ""
webrtc.external_ipv4 = ""
webrtc.external_ipv6 = ""
webrtc.network_interfaces = ""
webrtc.ice_tcp = true
webrtc.ice_tcp_port = 0
webrtc.mtu = 1200
webrtc.pem_certificate_rsa = ""
webrtc.pem_certificate_ecdsa = ""
webrtc.bandwidth_estimation = "auto"
media.hardware_encoders = true
filters.face_detector_model = ""
filters.face_recognizer_model = ""
filters.tenant_gstreamer_elements = ""
player.verify_certificates = true
recorder.spool = "/var/lib/kms/spool"
recorder.s3_endpoint = ""
recorder.s3_region = ""
recorder.s3_access_key_id = ""
recorder.s3_secret_access_key = ""
"#;
    assert_eq!(shown, expected);
}

#[test]
fn defaults_lie_in_their_own_ranges_and_every_key_is_explained() {
    for (section, key) in keys() {
        let value = (key.get)(&Config::default());
        let file = format!("[{}]\n{} = {value}", section.name, key.name);
        assert_eq!(load(&file, &[]).ok(), Some(Config::default()), "{file}");
        assert!(key.doc.trim().len() > 20, "{} says too little", key.name);
    }
}

#[test]
fn file_sets_every_type_of_value() {
    let config = load(
        r#"
        [server]
        listen = "[::1]:9000"
        path = "/media/ws"
        [log]
        level = "warn,kms_elements::webrtc=debug"
        format = "json"
        [uploads]
        public_url = "https://media.example.org/kms/"
        [webrtc]
        min_port = 50_000
        max_port = 0xEA60
        stun_address = "192.0.2.1"
        turn_url = "1700000000:alice:secret@192.0.2.2:3479?transport=tcp"
        network_interfaces = "eth0, wlan0"
        ice_tcp = false
        pem_certificate_rsa = "/etc/kms/rsa.pem"
        bandwidth_estimation = "never"
        "#,
        &[],
    )
    .expect("valid");
    assert_eq!(config.server.listen.to_string(), "[::1]:9000");
    assert_eq!(config.server.path.as_str(), "/media/ws");
    assert_eq!(config.log.level.as_str(), "warn,kms_elements::webrtc=debug");
    assert_eq!(config.log.format, LogFormat::Json);
    let listening = config.server.listen;
    assert_eq!(config.public_url(listening), "https://media.example.org/kms");
    assert_eq!(
        config.webrtc.pem_certificate_rsa,
        Some(PathBuf::from("/etc/kms/rsa.pem"))
    );
    let engine = config.webrtc.engine_settings();
    assert_eq!(
        (engine.min_port, engine.max_port, engine.shared_port),
        (50_000, 60_000, None)
    );
    assert_eq!(engine.ice_tcp_port, None);
    assert_eq!(engine.bandwidth_estimation, BandwidthEstimation::Never);
    assert!(engine.workers >= 1);
    let gather = config.webrtc.gather_settings();
    assert_eq!(gather.network_interfaces, ["eth0", "wlan0"]);
    assert_eq!(gather.stun_server, "192.0.2.1:3478".parse().ok());
    let turn = gather.turn_server.expect("set");
    assert_eq!(
        (turn.username.as_str(), turn.password.as_str()),
        ("1700000000:alice", "secret")
    );
    assert_eq!(
        (turn.address.to_string().as_str(), turn.transport),
        ("192.0.2.2:3479", TurnTransport::Tcp)
    );
}

#[test]
fn half_a_port_range_is_completed() {
    let range = |toml: &str| {
        let engine = load(toml, &[]).expect("valid").webrtc.engine_settings();
        (engine.min_port, engine.max_port)
    };
    assert_eq!(range("[webrtc]\nmin_port = 50000"), (50_000, 65_535));
    assert_eq!(range("[webrtc]\nmax_port = 50000"), (1024, 50_000));
}

#[test]
fn the_variables_of_kurentos_image_are_understood() {
    let config = load(
        "",
        &[
            ("KMS_MIN_PORT", "40000"),
            ("KMS_MAX_PORT", "40100"),
            ("KMS_STUN_IP", "192.0.2.1"),
            ("KMS_STUN_PORT", "19302"),
            ("KMS_TURN_URL", "user:pass@192.0.2.2:3478"),
            ("KMS_EXTERNAL_IPV4", "198.51.100.1"),
            ("KMS_EXTERNAL_IPV6", "2001:db8::1"),
            ("KMS_NETWORK_INTERFACES", "eth0"),
            ("KMS_ICE_TCP", "0"),
            ("KMS_MTU", "1400"),
            ("KMS_PEM_CERTIFICATE_RSA", "/rsa.pem"),
            ("KMS_PEM_CERTIFICATE_ECDSA", "/ecdsa.pem"),
        ],
    )
    .expect("valid")
    .webrtc;
    assert_eq!(
        (config.min_port, config.max_port, config.mtu, config.ice_tcp),
        (40_000, 40_100, 1400, false)
    );
    let gather = config.gather_settings();
    assert_eq!(gather.stun_server, "192.0.2.1:19302".parse().ok());
    assert_eq!(
        gather.turn_server.map(|turn| turn.password),
        Some("pass".to_owned())
    );
    assert_eq!(gather.external_ipv4, "198.51.100.1".parse().ok());
    assert_eq!(gather.external_ipv6, "2001:db8::1".parse().ok());
    assert_eq!(gather.network_interfaces, ["eth0"]);
    assert_eq!(config.pem_certificate_rsa, Some(PathBuf::from("/rsa.pem")));
    assert_eq!(config.pem_certificate_ecdsa, Some(PathBuf::from("/ecdsa.pem")));
}

#[test]
fn environment_wins_over_file_and_long_name_over_short_one() {
    let mtu = |environment: &[(&str, &str)]| {
        load("[webrtc]\nmtu = 1000", environment)
            .expect("valid")
            .webrtc
            .mtu
    };
    assert_eq!(mtu(&[]), 1000);
    assert_eq!(mtu(&[("KMS_MTU", "")]), 1000, "empty counts as not set");
    assert_eq!(mtu(&[("KMS_MTU", "1100")]), 1100);
    assert_eq!(mtu(&[("KMS_MTU", "1100"), ("KMS_WEBRTC_MTU", "1300")]), 1300);
    assert_eq!(
        load("", &[("KMS_SERVER_LISTEN", "127.0.0.2:1")])
            .expect("valid")
            .server
            .listen
            .port(),
        1
    );
}

#[test]
fn an_address_that_others_reach_needs_a_token_or_a_word() {
    for open in ["0.0.0.0:8888", "[::]:8888", "192.0.2.1:8888"] {
        let refused = refusal("", &[("KMS_SERVER_LISTEN", open)]);
        assert!(refused.contains("nobody is asked for a token"), "{refused}");
        for enough in [
            "allow_anonymous = true",
            "tokens = \"0123456789abcdef\"",
            "jwt_secret = \"0123456789abcdef0123456789abcdef\"",
            "jwt_public_keys = \"/etc/kms/keys.pem\"",
        ] {
            let config = load(&format!("[access]\n{enough}"), &[("KMS_SERVER_LISTEN", open)]);
            assert!(config.is_ok(), "{enough}");
        }
    }
    // The command line is asked, too.
    let listen = "0.0.0.0:8888".parse().ok();
    assert!(Config::load(None, [], listen).is_err());
    assert!(load("", &[("KMS_SERVER_LISTEN", "[::1]:8888")]).is_ok());
}

#[test]
fn what_is_wrong_in_the_file_is_refused_with_its_line() {
    let cases = [
        (
            "[webrtc]\nmtu = 1200\n\nfoo = 1",
            "kms.toml:4: unknown key `foo` in [webrtc]; known keys: min_port, max_port, ",
        ),
        (
            "[log]\n[wbrtc]",
            "kms.toml:2: unknown section [wbrtc]; known sections: [server], [access], [limits], [files], [network], [session], [log], [console], [telemetry], [uploads], [webrtc]",
        ),
        (
            "listen = 1",
            "kms.toml:1: unknown key `listen` outside of a section; known sections: ",
        ),
        (
            "[webrtc]\nmtu = 9000",
            "kms.toml:2: [webrtc] mtu: expected integer from 576 to 1500 (bytes), found \"9000\"",
        ),
        (
            "[webrtc]\nmtu = -1",
            "kms.toml:2: [webrtc] mtu: expected integer from 576 to 1500 (bytes), found \"-1\"",
        ),
        (
            "[webrtc]\nmtu = \"1200\"",
            "kms.toml:2: [webrtc] mtu: expected integer from 576 to 1500 (bytes), found a TOML string",
        ),
        (
            "[webrtc]\nice_tcp = 1",
            "kms.toml:2: [webrtc] ice_tcp: expected true or false, found a TOML integer",
        ),
        (
            "[server]\nlisten = \"localhost\"",
            "kms.toml:2: [server] listen: expected IP address and port",
        ),
        (
            "[server]\npath = \"/{*all}\"",
            "kms.toml:2: [server] path: expected path that begins with /",
        ),
        (
            "[log]\nlevel = \"inof\"",
            "kms.toml:2: [log] level: expected level (error, warn, info, debug, trace, off)",
        ),
        ("[log]\nlevel = \"kms=loud\"", "kms.toml:2: [log] level: "),
        (
            "[log]\nformat = \"xml\"",
            "kms.toml:2: [log] format: expected text or json, found \"xml\"",
        ),
        ("[log]\n\nformat = ", "kms.toml:3: "),
        (
            "[log]\nformat = \"text\"\nformat = \"json\"",
            "kms.toml:3: duplicate key",
        ),
        (
            "[webrtc]\nnetwork_interfaces = \"eth0 eth1\"",
            "kms.toml:2: [webrtc] network_interfaces: ",
        ),
    ];
    for (toml, expected) in cases {
        let refused = refusal(toml, &[]);
        assert!(
            refused.starts_with(expected),
            "{toml:?}\n expected: {expected}\n      got: {refused}"
        );
    }
}

#[test]
fn what_is_wrong_in_the_environment_is_refused_with_its_variable() {
    assert_eq!(
        refusal("", &[("KMS_MTU", "big")]),
        "environment variable KMS_MTU: expected integer from 576 to 1500 (bytes), found \"big\""
    );
    let auto = refusal("", &[("KMS_EXTERNAL_IPV4", "auto")]);
    assert!(auto.ends_with(
        "the address isn't looked up: set it, or webrtc.stun_address, which finds it out per endpoint"
    ));
    // The weaker variable is checked too, though another one overrules it.
    assert!(load("", &[("KMS_MTU", "big"), ("KMS_WEBRTC_MTU", "1200")]).is_err());
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let cases = [
        (
            "min_port = 6000\nmax_port = 5000",
            "webrtc.min_port (6000) is above webrtc.max_port (5000)",
        ),
        (
            "shared_port = 6000\nmin_port = 7000",
            "webrtc.shared_port (6000) puts all endpoints on one port",
        ),
        (
            "shared_port = 65535\nworkers = 2",
            "webrtc.shared_port (65535) needs one port for each of 2 workers",
        ),
        (
            "ice_tcp_port = 8888",
            "webrtc.ice_tcp_port (8888) is the port of server.listen",
        ),
    ];
    for (keys, expected) in cases {
        let refused = refusal(&format!("[webrtc]\n{keys}"), &[]);
        assert!(refused.starts_with(expected), "{keys}: {refused}");
    }
}

#[test]
fn malformed_turn_urls_are_refused_without_showing_them() {
    let cases = [
        ("hunter2", "there is no @"),
        (
            "hunter2@192.0.2.1:3478",
            "there is no : between user and password",
        ),
        (":hunter2@192.0.2.1:3478", "user or password is empty"),
        (
            "u:hunter2@turn.example.org:3478",
            "after the @ stands no IP address and port",
        ),
        ("u:hunter2@192.0.2.1", "after the @ stands no IP address and port"),
        (
            "u:hunter2@192.0.2.1:3478?transport=sctp",
            "the transport is none of udp, tcp",
        ),
        (
            "u:hunter2@192.0.2.1:3478?transport=tls",
            "TURN over TLS isn't supported yet",
        ),
    ];
    for (url, reason) in cases {
        let refused = refusal(&format!("[webrtc]\nturn_url = \"{url}\""), &[]);
        assert!(refused.ends_with(reason), "{url}: {refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let broken_line = refusal("[webrtc]\nturn_url = \"u:hunter2@192.0.2.1:3478", &[]);
    assert!(!broken_line.contains("hunter2"), "{broken_line}");
}

#[test]
fn the_turn_password_is_shown_nowhere() {
    let config = load("[webrtc]\nturn_url = \"user:hunter2@192.0.2.1:3478\"", &[]).expect("valid");
    let shown = format!(
        "{config:?} {:?} {}",
        config.webrtc.gather_settings(),
        config.to_documented_toml()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(
        shown.contains(r#"turn_url = "user:***@192.0.2.1:3478?transport=udp""#),
        "{shown}"
    );
}

#[test]
fn what_kms_config_prints_is_the_same_configuration_again() {
    let config = load(
        "[server]\nlisten = \"[::1]:1\"\n[webrtc]\nmin_port = 5000\nstun_address = \"::1\"",
        &[],
    )
    .expect("valid");
    assert_eq!(load(&config.to_documented_toml(), &[]).ok(), Some(config));
}

#[test]
fn only_unknown_variables_of_our_sections_are_reported() {
    let names = [
        "KMS_WEBRTC_MINPORT",
        "KMS_WEBRTC_MIN_PORT",
        "KMS_MTU",
        "KMS_PORT",
        "HOME",
    ];
    let unknown = unknown_variables(names.iter().map(|name| (name.to_string(), "1".to_owned())));
    assert_eq!(unknown, ["KMS_WEBRTC_MINPORT"]);
}

#[test]
fn no_two_keys_share_a_variable() {
    let mut names: Vec<String> = keys().flat_map(|(section, key)| key.variables(section)).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn a_file_that_cant_be_read_is_named() {
    let refused = Config::load(Some(Path::new("/nonexistent/kms.toml")), [], None)
        .expect_err("no such file")
        .to_string();
    assert!(
        refused.starts_with("/nonexistent/kms.toml: No such file"),
        "{refused}"
    );
}

#[test]
fn the_committed_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = reference_markdown();
    if std::env::var_os("KMS_BLESS").is_some() {
        std::fs::write(&path, &reference).expect("docs/configuration.md can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == reference,
        "docs/configuration.md is stale; write it anew with: KMS_BLESS=1 cargo test -p kms config"
    );
}
