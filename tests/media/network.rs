//! Networks of a test's own.

use std::process::Command;

/// Set for the part of a test that runs in its own network.
const INSIDE: &str = "KMS_TEST_NETWORK";

/// Runs this test in a network that has only a loopback interface, after these commands of `nft` there. True: this is that run;
/// false: it has been, and the test is over. Needs root, as network namespaces do.
pub(crate) fn in_own_network(test: &str, rules: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let name = format!("kms-{}", std::process::id());
    let _removed = Namespace::new(&name);
    run("ip", &["-n", &name, "link", "set", "lo", "up"]);
    for rule in rules {
        let mut arguments = vec!["netns", "exec", &name, "nft"];
        arguments.push(rule);
        run("ip", &arguments);
    }
    let output = Command::new("ip")
        .args(["netns", "exec", &name])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, &name)
        .output()
        .unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "in a network of its own: {said}"
    );
    false
}

/// A network, as long as this lives.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Namespace {
        run("ip", &["netns", "add", name]);
        Namespace(name.to_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}
