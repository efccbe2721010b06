//! Targets by container: its name or id, a label, a compose service.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{FindError, Found, target};
use crate::cgroup::{Cgroups, Group};
use crate::engine::{Container, Engine, EngineError};
use crate::processes::Processes;
use crate::target::{Origin, Target};

/// What Docker Compose labels its containers with.
const COMPOSE_SERVICE: &str = "com.docker.compose.service";
const COMPOSE_PROJECT: &str = "com.docker.compose.project";

const CONTAINER: &str = "container";

/// The container of that name, or the one whose id begins so.
///
/// # Errors
/// There is none or more than one, it does not run, or the engine does not answer.
pub fn by_container(engine: &Engine, name: &str) -> Found {
    if name.is_empty() {
        return Err(FindError::BadName { kind: CONTAINER, wanted: String::new() });
    }
    let all = engine.list(&[])?;
    let container = one(&all, name)?;
    Ok(vec![instance(engine, &container.id)?])
}

/// A target as it is now. With each start a container gets another network namespace, another
/// cgroup and another main process; whatever else was found keeps its own.
///
/// # Errors
/// The container is gone or does not run, or its engine does not answer.
pub fn again(target: &Target) -> Result<Target, FindError> {
    match &target.origin {
        Origin::Container { socket, id } => instance(&Engine::at(socket), id),
        _ => Ok(target.clone()),
    }
}

/// Every running container that has a label: `key=value`, or `key` for any value.
///
/// # Errors
/// None has it, none of them runs, or the engine does not answer.
pub fn by_label(engine: &Engine, label: &str) -> Found {
    const KIND: &str = "container with the label";
    if label.is_empty() || label.starts_with('=') {
        return Err(FindError::BadName { kind: "label", wanted: label.to_owned() });
    }
    let labelled = engine.list(&[label])?;
    if labelled.is_empty() {
        let all = engine.list(&[])?;
        let known = all.into_iter().flat_map(|container| container.labels);
        let known = known.map(|(key, value)| format!("{key}={value}"));
        return Err(FindError::not_found(KIND, label, known));
    }
    running(engine, &labelled)
}

/// Every running container of a compose service. Where several projects have a service of that
/// name, the project must be named.
///
/// # Errors
/// There is no such service, several projects have one, none of its containers runs, or the engine
/// does not answer.
pub fn by_compose_service(engine: &Engine, service: &str, project: Option<&str>) -> Found {
    const KIND: &str = "compose service";
    if service.is_empty() {
        return Err(FindError::BadName { kind: KIND, wanted: String::new() });
    }
    let composed = engine.list(&[COMPOSE_SERVICE])?;
    let label = |container: &Container, key| container.labels.get(key).cloned().unwrap_or_default();
    let of_project = |container: &&Container| {
        project.is_none_or(|project| label(container, COMPOSE_PROJECT) == project)
    };
    let matches: Vec<Container> = composed
        .iter()
        .filter(of_project)
        .filter(|container| label(container, COMPOSE_SERVICE) == service)
        .cloned()
        .collect();
    if matches.is_empty() {
        let wanted = project.map_or_else(|| service.to_owned(), |p| format!("{service} of {p}"));
        let known = composed.iter().map(|container| match project {
            None => label(container, COMPOSE_SERVICE),
            Some(_) => format!(
                "{} of {}",
                label(container, COMPOSE_SERVICE),
                label(container, COMPOSE_PROJECT)
            ),
        });
        return Err(FindError::not_found(KIND, &wanted, known));
    }
    let projects: BTreeSet<String> = matches.iter().map(|c| label(c, COMPOSE_PROJECT)).collect();
    if projects.len() > 1 {
        let projects = projects.into_iter().collect();
        return Err(FindError::SeveralProjects { service: service.to_owned(), projects });
    }
    running(engine, &matches)
}

/// The container that is meant by a name or the beginning of an id.
fn one<'a>(all: &'a [Container], wanted: &str) -> Result<&'a Container, FindError> {
    let plain = wanted.trim_start_matches('/');
    if let Some(named) = all.iter().find(|container| container.name == plain) {
        return Ok(named);
    }
    let by_id: Vec<_> = all.iter().filter(|container| container.id.starts_with(wanted)).collect();
    match by_id[..] {
        [] => Err(FindError::not_found(CONTAINER, wanted, all.iter().map(|c| c.name.clone()))),
        [container] => Ok(container),
        _ => Err(FindError::Several {
            wanted: wanted.to_owned(),
            names: by_id.iter().map(|container| container.name.clone()).collect(),
        }),
    }
}

/// Those that run, as targets; where none does, the first is the reason.
fn running(engine: &Engine, containers: &[Container]) -> Found {
    let mut instances = Vec::with_capacity(containers.len());
    let mut reason = None;
    for container in containers {
        match instance(engine, &container.id) {
            Ok(target) => instances.push(target),
            Err(error @ FindError::Engine(EngineError::NotRunning { .. })) => {
                reason.get_or_insert(error);
            }
            // It was removed while we looked; the others were not.
            Err(error) if error.is_gone() => {
                reason.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match reason {
        Some(reason) if instances.is_empty() => Err(reason),
        _ => Ok(instances),
    }
}

fn instance(engine: &Engine, id: &str) -> Result<Target, FindError> {
    let inspected = engine.inspect(id)?;
    let name = inspected.name;
    let pid = match inspected.pid {
        Some(pid) if matches!(inspected.state.as_str(), "running" | "paused") => pid,
        _ => return Err(EngineError::NotRunning { name, state: inspected.state }.into()),
    };
    let read = |source| FindError::looking(format!("read the processes of {name}"), source);
    let all = Processes::read().map_err(read)?;
    let dirs = Cgroups::detect().and_then(|cgroups| own_dirs(&cgroups, pid, &inspected.id));
    let (true, Ok(dirs)) = (all.get(pid).is_some(), dirs) else {
        return Err(FindError::Elsewhere { name, pid });
    };
    let group = Group::recorded(dirs);
    let alive = |pid: &u32| all.get(*pid).is_some_and(|row| !row.has_ended);
    let below = all.descendants(pid).into_iter().chain(group.processes_below());
    let others: BTreeSet<u32> = below.filter(|other| *other != pid).filter(alive).collect();
    let pids = std::iter::once(pid).chain(all.main_first(&others)).collect();
    let origin =
        Origin::Container { socket: engine.socket().to_path_buf(), id: inspected.id.clone() };
    target(name, pids, group, origin)
}

/// The directories of a container's own cgroup. A hierarchy in which its engine made none for it
/// is left out: there its processes are among others.
fn own_dirs(cgroups: &Cgroups, pid: u32, id: &str) -> std::io::Result<Vec<PathBuf>> {
    let wanted = Group::of_pid(cgroups, pid)?;
    let dirs =
        wanted.dirs().iter().filter(|dir| cgroups.hierarchies().iter().all(|h| h.mount != **dir));
    Ok(dirs.filter_map(|dir| own_dir(dir, id)).collect())
}

/// The directory that bears a container's id, which its engine made: `…/ID`, `docker-ID.scope`,
/// `libpod-ID.scope`. The main process may have moved to one below that.
fn own_dir(dir: &Path, id: &str) -> Option<PathBuf> {
    let bears_id = |dir: &&Path| dir.file_name().is_some_and(|n| n.to_string_lossy().contains(id));
    dir.ancestors().filter(bears_id).last().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, id: &str) -> Container {
        Container {
            id: id.into(),
            name: name.into(),
            state: "running".into(),
            labels: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_name_comes_before_the_beginning_of_an_id() {
        let all = [container("api", "abc1"), container("abc", "ddd1"), container("db", "abd2")];
        for (wanted, expected) in [
            ("api", Some("api")),
            ("/api", Some("api")),
            ("abc", Some("abc")),
            ("abc1", Some("api")),
            ("abd", Some("db")),
            ("ab", None),
            ("x", None),
        ] {
            let found = one(&all, wanted);
            assert_eq!(found.as_ref().ok().map(|c| c.name.as_str()), expected, "{found:?}");
        }
        let several = one(&all, "ab").unwrap_err().to_string();
        assert_eq!(
            several,
            "`ab` may be any of the containers api, db: give more of the id, or the name"
        );
        let none = one(&all, "apo").unwrap_err().to_string();
        assert!(none.starts_with("there is no container `apo`; there is a"), "{none}");
        let none = one(&[], "apo").unwrap_err().to_string();
        assert!(none.ends_with("there is no container at all that could be seen"), "{none}");
    }

    #[test]
    fn the_own_group_is_the_one_that_bears_the_id() {
        let id = "0123456789abcdef";
        for (dir, expected) in [
            (format!("/c/memory/docker/{id}"), Some(format!("/c/memory/docker/{id}"))),
            (format!("/c/docker-{id}.scope/init.scope"), Some(format!("/c/docker-{id}.scope"))),
            (format!("/c/libpod-{id}.scope/container"), Some(format!("/c/libpod-{id}.scope"))),
            (format!("/c/{id}/docker/{id}"), Some(format!("/c/{id}"))),
            ("/c/system.slice/docker.service".into(), None),
        ] {
            assert_eq!(own_dir(Path::new(&dir), id), expected.map(PathBuf::from), "{dir}");
        }
    }
}
