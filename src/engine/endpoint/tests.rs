//! Where engines are looked for, with settings as Docker writes them.

#![allow(clippy::disallowed_methods, reason = "tests lay out files of their own")]

use tempfile::TempDir;

use super::*;

/// The digest of `build`: Docker's folder for the context of that name.
const BUILD: &str = "44575cf5b28512d75644bf54a517dcef304ff809fd511747621b4d64f19aac66";

/// A folder of Docker's settings.
struct Docker {
    folder: TempDir,
}

impl Docker {
    fn new(config: &str) -> Self {
        let docker = Self { folder: tempfile::tempdir().unwrap() };
        docker.write("config.json", config);
        docker
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn with_context(self, meta: &str) -> Self {
        self.write(&format!("contexts/meta/{BUILD}/meta.json"), meta);
        self
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            docker_config: self.folder.path().to_owned(),
            runtime_dir: Some(PathBuf::from("/run/user/7")),
            ..Surroundings::default()
        }
    }

    /// What was found, one line for each; our folder as `~`.
    fn found(&self, surroundings: &Surroundings, choice: Option<&str>) -> String {
        let shown = |endpoint: &Endpoint| {
            let tls = endpoint.tls.as_ref().map(|tls| {
                let verify = if tls.verify { "" } else { ", of anyone" };
                format!(" by {}{verify}", tls.folder.display())
            });
            format!("{}{}", endpoint.address, tls.unwrap_or_default())
        };
        let text = match endpoints(surroundings, choice) {
            Ok(found) => found.iter().map(shown).collect::<Vec<_>>().join("\n"),
            Err(error) => format!("error: {error}"),
        };
        text.replace(&self.folder.path().display().to_string(), "~")
    }
}

const CONTEXT: &str = r#"{"Name":"build","Metadata":{},
    "Endpoints":{"docker":{"Host":"tcp://build:2376","SkipTLSVerify":false}}}"#;

#[test]
fn without_a_choice_the_usual_sockets_are_tried() {
    let docker = Docker::new("{\"auths\": {}}");
    let mut surroundings = docker.surroundings();
    let usual = "unix:///var/run/docker.sock\n\
                 unix:///run/user/7/podman/podman.sock\n\
                 unix:///run/podman/podman.sock";
    assert_eq!(docker.found(&surroundings, None), usual);
    assert_eq!(docker.found(&surroundings, Some("docker")), "unix:///var/run/docker.sock");
    assert_eq!(docker.found(&surroundings, Some("default")), "unix:///var/run/docker.sock");
    let podman = "unix:///run/user/7/podman/podman.sock\nunix:///run/podman/podman.sock";
    assert_eq!(docker.found(&surroundings, Some("podman")), podman);

    surroundings.runtime_dir = None;
    assert_eq!(docker.found(&surroundings, Some("podman")), "unix:///run/podman/podman.sock");
    surroundings.uid = Some(7);
    assert_eq!(docker.found(&surroundings, Some("podman")), podman);

    // No settings at all are fine.
    surroundings.docker_config = PathBuf::from("/nowhere/.docker");
    assert_eq!(docker.found(&surroundings, None), usual);
}

#[test]
fn docker_host_goes_before_contexts() {
    let docker = Docker::new("{\"currentContext\": \"build\"}").with_context(CONTEXT);
    let mut surroundings = docker.surroundings();
    surroundings.docker_context = Some("other".to_owned());
    surroundings.docker_host = Some("ssh://me@far".to_owned());
    assert_eq!(docker.found(&surroundings, None), "ssh://me@far");
    assert_eq!(docker.found(&surroundings, Some("docker")), "ssh://me@far");
    surroundings.docker_host = Some("/run/docker.sock".to_owned());
    assert_eq!(
        docker.found(&surroundings, None),
        "error: cannot use `/run/docker.sock` as the address of an engine: it has no scheme"
    );
}

#[test]
fn a_choice_goes_before_everything() {
    let docker = Docker::new("{\"currentContext\": \"build\"}").with_context(CONTEXT);
    let mut surroundings = docker.surroundings();
    surroundings.docker_host = Some("tcp://other:1".to_owned());
    assert_eq!(docker.found(&surroundings, Some("tcp://here:2")), "tcp://here:2");
    assert_eq!(docker.found(&surroundings, Some("/run/my.sock")), "unix:///run/my.sock");
    assert_eq!(docker.found(&surroundings, Some("./my.sock")), "unix://./my.sock");
    assert_eq!(docker.found(&surroundings, Some("build")), "tcp://build:2376");
}

#[test]
fn tls_is_what_the_environment_says() {
    let docker = Docker::new("{}");
    let mut surroundings = docker.surroundings();
    surroundings.docker_host = Some("tcp://build:2376".to_owned());
    assert_eq!(docker.found(&surroundings, None), "tcp://build:2376");
    surroundings.tls_verify = true;
    assert_eq!(docker.found(&surroundings, None), "https://build:2376 by ~");
    surroundings.cert_path = Some(PathBuf::from("/certs"));
    assert_eq!(docker.found(&surroundings, None), "https://build:2376 by /certs");
    surroundings.docker_host = Some("unix:///run/docker.sock".to_owned());
    assert_eq!(docker.found(&surroundings, None), "unix:///run/docker.sock");
    assert_eq!(docker.found(&surroundings, Some("https://far")), "https://far:2376 by /certs");
}

#[test]
fn contexts_are_found_as_docker_keeps_them() {
    let docker = Docker::new("{\"currentContext\": \"build\"}").with_context(CONTEXT);
    let mut surroundings = docker.surroundings();
    assert_eq!(docker.found(&surroundings, None), "tcp://build:2376");
    assert_eq!(docker.found(&surroundings, Some("docker")), "tcp://build:2376");

    docker.write(&format!("contexts/tls/{BUILD}/docker/ca.pem"), "");
    let tls = format!("https://build:2376 by ~/contexts/tls/{BUILD}/docker");
    assert_eq!(docker.found(&surroundings, None), tls);

    let docker = docker
        .with_context(r#"{"Endpoints":{"docker":{"Host":"tcp://build:1","SkipTLSVerify":true}}}"#);
    let tls = format!("https://build:1 by ~/contexts/tls/{BUILD}/docker, of anyone");
    assert_eq!(docker.found(&surroundings, None), tls);

    surroundings.docker_context = Some("default".to_owned());
    assert!(docker.found(&surroundings, None).starts_with("unix:///var/run/docker.sock\n"));
}

#[test]
fn settings_that_are_wrong_are_named() {
    let docker = Docker::new("{\"currentContext\": \"build\"}");
    let surroundings = docker.surroundings();
    let meta = format!("~/contexts/meta/{BUILD}/meta.json");
    assert_eq!(
        docker.found(&surroundings, None),
        format!("error: no Docker context is called `build`: there is no {meta}")
    );
    for (text, reason) in [
        ("{\"Endpoints\": {}}", "it has no endpoint `docker`"),
        ("{\"Endpoints\": {\"docker\": {\"Host\": \"\"}}}", "its endpoint has no host"),
        ("{", "EOF while parsing an object at line 1 column 1"),
    ] {
        docker.write(&format!("contexts/meta/{BUILD}/meta.json"), text);
        let wanted = format!("error: cannot use {meta}: {reason}");
        assert_eq!(docker.found(&surroundings, None), wanted);
    }

    docker.write("config.json", "[1, 2");
    assert!(docker.found(&surroundings, None).starts_with("error: cannot use ~/config.json: "));
}
