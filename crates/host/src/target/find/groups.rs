//! Targets by cgroup and by systemd unit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{FindError, Found, target};
use crate::cgroup::{Cgroups, Group, Hierarchy, procs, subtree};
use crate::processes::Processes;
use crate::target::{Origin, Target};

/// What a full name of a systemd unit with processes ends in.
const UNIT_TYPES: &[&str] = &[".service", ".scope", ".slice", ".socket", ".mount", ".swap"];

/// Everything that runs in a cgroup and in those below it, as one instance. The group is named as
/// `/proc/PID/cgroup` does (`/system.slice/cron.service`) and then meant in every hierarchy, or by
/// its directory and then meant as that hierarchy has it.
///
/// # Errors
/// There is no such group, nobody is in it, or it is the root, which is everybody's.
pub fn by_cgroup(path: &str) -> Found {
    const KIND: &str = "cgroup";
    let cgroups = detect()?;
    if path.trim().is_empty() || path.split('/').any(|part| part == "..") {
        return Err(FindError::BadName { kind: KIND, wanted: path.to_owned() });
    }
    let (name, dirs) = match by_directory(&cgroups, Path::new(path)) {
        Some((name, dir)) => (name, vec![dir]),
        None => {
            let name = format!("/{}", path.trim_matches('/'));
            let dirs = cgroups.hierarchies().iter().filter_map(|h| h.dir(&name));
            (name.clone(), dirs.filter(|dir| dir.is_dir()).collect())
        }
    };
    if dirs.iter().any(|dir| cgroups.hierarchies().iter().any(|h| h.mount == *dir)) {
        return Err(FindError::RootGroup { wanted: path.to_owned() });
    }
    if dirs.is_empty() {
        let known = cgroups.hierarchies().iter().flat_map(names_below);
        return Err(FindError::not_found(KIND, path, known));
    }
    let found = instance(&cgroups, KIND, &name, &dirs, name.clone(), Origin::Cgroup)?;
    Ok(vec![found])
}

/// What runs in a systemd unit, found by its cgroup: one instance for each place in which a unit of
/// that name runs (the system's, each user's). A name without a type is a service's; one that ends
/// in `@` stands for all instances of that template.
///
/// # Errors
/// There is no such unit, or it has no process.
pub fn by_unit(name: &str) -> Found {
    const KIND: &str = "systemd unit";
    let cgroups = detect()?;
    if name.is_empty() || name.contains('/') {
        return Err(FindError::BadName { kind: KIND, wanted: name.to_owned() });
    }
    let is_wanted = |unit: &str| match name.strip_suffix('@') {
        Some(_) => unit.starts_with(name) && unit.ends_with(".service"),
        None => unit == name || (!has_type(name) && unit.strip_suffix(".service") == Some(name)),
    };
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for hierarchy in cgroups.hierarchies() {
        for dir in subtree(&hierarchy.mount) {
            let Some(unit) = dir.file_name().and_then(|unit| unit.to_str()) else { continue };
            if is_wanted(unit)
                && let Some(path) = name_of(hierarchy, &dir)
            {
                places.entry(path).or_default().push(dir);
            } else if has_type(unit) && !unit.ends_with(".slice") {
                known.insert(unit.to_owned());
            }
        }
    }
    if places.is_empty() {
        return Err(FindError::not_found(KIND, name, known));
    }
    let unit_of = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let mut instances = Vec::with_capacity(places.len());
    for (path, dirs) in &places {
        let unit = unit_of(path);
        // Two users' units of one name are told apart by where they are.
        let alone = places.keys().filter(|other| unit_of(other) == unit).count() == 1;
        let service = if alone { unit.clone() } else { path.trim_start_matches('/').to_owned() };
        match instance(&cgroups, KIND, path, dirs, service, Origin::Unit(unit)) {
            Err(FindError::Empty { .. }) => {}
            found => instances.push(found?),
        }
    }
    if instances.is_empty() {
        return Err(FindError::Empty { kind: KIND, wanted: name.to_owned() });
    }
    Ok(instances)
}

fn detect() -> Result<Cgroups, FindError> {
    Cgroups::detect().map_err(|source| FindError::looking("read /proc/self/mountinfo", source))
}

fn has_type(unit: &str) -> bool {
    UNIT_TYPES.iter().any(|suffix| unit.len() > suffix.len() && unit.ends_with(suffix))
}

/// The target of one group: its processes are those in these directories and below them.
fn instance(
    cgroups: &Cgroups,
    kind: &'static str,
    path: &str,
    dirs: &[PathBuf],
    service: String,
    origin: Origin,
) -> Result<Target, FindError> {
    let all = Processes::read().map_err(|source| FindError::looking("read /proc", source))?;
    let pids: BTreeSet<u32> = dirs
        .iter()
        .flat_map(|dir| subtree(dir))
        .flat_map(|dir| procs(&dir))
        .filter(|pid| all.get(*pid).is_some_and(|row| !row.has_ended))
        .collect();
    if pids.is_empty() {
        return Err(FindError::Empty { kind, wanted: service });
    }
    // The hierarchy that it was found in holds its processes, whether or not it can limit them.
    let mut group = Group::at(cgroups, path).dirs().to_vec();
    group.extend(dirs.iter().filter(|dir| !group.contains(dir)).cloned().collect::<Vec<_>>());
    target(service, all.main_first(&pids), Group::recorded(group), origin)
}

/// The directory as given, with the name under which `/proc/PID/cgroup` has it; `None` where it
/// is not a directory of a mounted hierarchy.
fn by_directory(cgroups: &Cgroups, dir: &Path) -> Option<(String, PathBuf)> {
    let dir = dir.is_absolute().then(|| dir.canonicalize().ok()).flatten()?;
    let hierarchy = cgroups.hierarchies().iter().find(|h| dir.starts_with(&h.mount))?;
    Some((name_of(hierarchy, &dir)?, dir))
}

/// What `/proc/PID/cgroup` calls a directory.
fn name_of(hierarchy: &Hierarchy, dir: &Path) -> Option<String> {
    let below = dir.strip_prefix(&hierarchy.mount).ok()?.to_str()?;
    Some(format!("{}/{below}", hierarchy.root.trim_end_matches('/')))
}

fn names_below(hierarchy: &Hierarchy) -> impl Iterator<Item = String> {
    let names = subtree(&hierarchy.mount);
    names.into_iter().skip(1).filter_map(|dir| name_of(hierarchy, &dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::find::tests::Spawned;

    /// A cgroup with a group below it, removed at the end.
    struct TestGroup {
        name: String,
        outer: Group,
        inner: Group,
    }

    impl TestGroup {
        fn new(name: &str) -> Option<Self> {
            if !rustix::process::geteuid().is_root() {
                eprintln!("skipped: needs root (cgroups are made)");
                return None;
            }
            let cgroups = Cgroups::detect().unwrap();
            let inner = Group::create(&cgroups, &format!("{name}/inner")).unwrap();
            Some(Self { name: name.into(), outer: Group::find(&cgroups, name), inner })
        }
    }

    impl Drop for TestGroup {
        fn drop(&mut self) {
            for group in [&self.inner, &self.outer] {
                let _ = group.kill_all(5_000);
                let _ = group.remove_within(5_000);
            }
        }
    }

    #[test]
    fn everything_in_a_group_and_below_it_is_one_target() {
        let name = format!("temblor-find-{}", std::process::id());
        let Some(group) = TestGroup::new(&name) else { return };
        let error = by_cgroup(&name).unwrap_err();
        assert!(matches!(&error, FindError::Empty { .. }), "{error}");
        let first = Spawned::shell("sleep 60; true", 2);
        let second = Spawned::shell("sleep 60; true", 2);
        for pid in by_pids(&first) {
            group.outer.attach(pid).or_else(|_| group.inner.attach(pid)).unwrap();
        }
        for pid in by_pids(&second) {
            group.inner.attach(pid).unwrap();
        }
        let dir = group.outer.dirs()[0].to_str().unwrap();
        for path in [&name, &format!("/{name}"), &format!("/{name}/"), dir] {
            let found = by_cgroup(path).unwrap();
            let [target] = &found[..] else { panic!("{path}: {found:?}") };
            assert_eq!(target.service, format!("/{name}"), "{path}");
            assert_eq!(target.pids[0], first.pid(), "the eldest is the main one");
            assert_eq!(target.pids.len(), 4, "{path}");
            assert_eq!(target.group, group.outer);
            assert_eq!(target.processes_now().len(), 4);
            target.has_own_group().unwrap();
        }
        let below = by_cgroup(&format!("{}/inner", group.name)).unwrap();
        assert!(below[0].pids.contains(&second.pid()), "{below:?}");

        // Whoever is known by pid shares the group with those that are not its own.
        let alone = crate::target::find::by_pid(second.pid()).unwrap().remove(0);
        if alone.group.dirs().iter().all(|dir| group.inner.dirs().contains(dir)) {
            alone.has_own_group().unwrap();
        }
        group.inner.attach(first.pid()).unwrap();
        let dir = &group.inner.dirs()[0];
        let others = alone.owns(dir).unwrap_err();
        assert!(others.pids().contains(&first.pid()), "{others}");
        assert!(others.to_string().contains(&format!("sh ({})", first.pid())), "{others}");
    }

    fn by_pids(spawned: &Spawned) -> Vec<u32> {
        crate::target::find::by_pid(spawned.pid()).unwrap().remove(0).pids
    }

    #[test]
    fn a_unit_is_found_by_the_name_of_its_cgroup() {
        // No systemd is needed: a unit is where its group is.
        let unit = format!("temblor-find@{}", std::process::id());
        let full = format!("{unit}.service");
        let slice = format!("temblor-find-{}.slice", std::process::id());
        let Some(group) = TestGroup::new(&format!("{slice}/{full}")) else { return };
        let above = Group::find(&Cgroups::detect().unwrap(), &slice);
        let error = by_unit(&unit).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the systemd unit `{unit}` has no process: is it running?")
        );
        let process = Spawned::shell("sleep 60; true", 2);
        by_pids(&process).into_iter().for_each(|pid| group.inner.attach(pid).unwrap());
        for name in [unit.as_str(), &full, "temblor-find@"] {
            let found = by_unit(name).unwrap();
            let [target] = &found[..] else { panic!("{name}: {found:?}") };
            assert_eq!(target.service, full);
            assert_eq!(target.origin, Origin::Unit(full.clone()));
            assert_eq!(target.pids[0], process.pid());
            assert_eq!(target.processes_now().len(), 2, "{target:?}");
            assert_eq!(target.group, group.outer);
        }
        let error = by_unit(&format!("{unit}.socket")).unwrap_err().to_string();
        assert!(error.contains(&full), "{error}");
        drop((process, group));
        above.remove_within(5_000).unwrap();
    }

    #[test]
    fn no_group_is_an_error_with_names_and_the_root_is_nobodys() {
        for root in ["/", "//"] {
            let error = by_cgroup(root).unwrap_err();
            assert!(matches!(error, FindError::RootGroup { .. }), "{root}: {error}");
        }
        for mount in Cgroups::detect().unwrap().hierarchies() {
            let error = by_cgroup(mount.mount.to_str().unwrap()).unwrap_err();
            assert!(matches!(error, FindError::RootGroup { .. }), "{mount:?}: {error}");
        }
        for bad in ["", " ", "/a/../b", ".."] {
            let error = by_cgroup(bad).unwrap_err();
            assert!(matches!(error, FindError::BadName { .. }), "{bad}: {error}");
        }
        let error = by_cgroup("no/such/group").unwrap_err().to_string();
        assert!(error.starts_with("there is no cgroup `no/such/group`; there is"), "{error}");
        let error = by_unit("no-such-unit").unwrap_err().to_string();
        assert!(error.starts_with("there is no systemd unit `no-such-unit`; there is"), "{error}");
        assert!(matches!(by_unit("a/b"), Err(FindError::BadName { .. })));
    }
}
