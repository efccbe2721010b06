//! Where the container engine of this machine listens.

use std::env;
use std::path::PathBuf;

use super::EngineError;

/// The socket that the environment names, else the first that is there of the places where Docker
/// and Podman put theirs.
pub(super) fn find() -> Result<PathBuf, EngineError> {
    let named = env::var("DOCKER_HOST").ok().filter(|value| !value.is_empty());
    if let Some(value) = named {
        return parse(&value);
    }
    let tried = usual(env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
    match tried.iter().find(|path| path.exists()) {
        Some(socket) => Ok(socket.clone()),
        None => Err(EngineError::NoEngine { tried }),
    }
}

/// The socket in a `DOCKER_HOST`.
fn parse(value: &str) -> Result<PathBuf, EngineError> {
    match value.strip_prefix("unix://").unwrap_or(value) {
        path if path.starts_with('/') => Ok(PathBuf::from(path)),
        _ => Err(EngineError::NotLocal { value: value.to_owned() }),
    }
}

fn usual(runtime_dir: Option<PathBuf>) -> Vec<PathBuf> {
    let system = ["/var/run/docker.sock", "/run/podman/podman.sock"].map(PathBuf::from);
    // A user's own engine, without root.
    let user = runtime_dir
        .into_iter()
        .flat_map(|dir| [dir.join("docker.sock"), dir.join("podman/podman.sock")]);
    system.into_iter().chain(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_of_this_machine_are_taken() {
        for (value, expected) in [
            ("unix:///run/d.sock", Some("/run/d.sock")),
            ("/run/d.sock", Some("/run/d.sock")),
            ("unix://d.sock", None),
            ("tcp://10.0.0.1:2375", None),
            ("ssh://host", None),
        ] {
            assert_eq!(parse(value).ok(), expected.map(PathBuf::from), "{value}");
        }
        let error = parse("tcp://10.0.0.1:2375").unwrap_err().to_string();
        assert!(error.contains("`tcp://10.0.0.1:2375`"), "{error}");
    }

    #[test]
    fn the_systems_engine_comes_before_the_users() {
        let all = usual(Some("/run/user/7".into()));
        assert_eq!(all[0], PathBuf::from("/var/run/docker.sock"));
        assert_eq!(all[3], PathBuf::from("/run/user/7/podman/podman.sock"));
        let error = EngineError::NoEngine { tried: usual(None) }.to_string();
        assert!(
            error.contains("at /var/run/docker.sock or /run/podman/podman.sock; start"),
            "{error}"
        );
    }
}
