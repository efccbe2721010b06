//! Where programs are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A root shell that came through `su` lacks these, and the servers live there.
const SYSTEM_DIRS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Finds a program as a shell would, then where system programs live.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect();
    find_in(name, listed.iter().map(PathBuf::as_path).chain(SYSTEM_DIRS.iter().map(Path::new)))
}

/// Finds one of PostgreSQL's programs: the newest installed server's own, then as [`find`]. The
/// distributions keep the server's programs out of PATH, and what Debian has in PATH are wrappers.
#[must_use]
pub fn find_postgresql(name: &str) -> Option<PathBuf> {
    let dirs = postgresql_dirs();
    find_in(name, dirs.iter().map(PathBuf::as_path)).or_else(|| find(name))
}

/// Finds a program in these directories, the first that has it.
#[must_use]
pub fn find_in<'a>(name: &str, dirs: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    dirs.into_iter().map(|dir| dir.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The directories of installed PostgreSQL servers, newest first: Debian's layout, then that of
/// PostgreSQL's own packages for Red Hat's family.
fn postgresql_dirs() -> Vec<PathBuf> {
    let debian = subdirs("/usr/lib/postgresql").into_iter().filter_map(|dir| {
        let version = dir.file_name().and_then(OsStr::to_str)?.parse::<u32>().ok()?;
        Some((version, dir.join("bin")))
    });
    let pgdg = subdirs("/usr").into_iter().filter_map(|dir| {
        let name = dir.file_name().and_then(OsStr::to_str)?;
        Some((name.strip_prefix("pgsql-")?.parse::<u32>().ok()?, dir.join("bin")))
    });
    let mut found: Vec<_> = debian.chain(pgdg).collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).collect()
}

fn subdirs(path: &str) -> Vec<PathBuf> {
    fs::read_dir(path)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_run_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (text, tool) = (dir.path().join("text"), dir.path().join("tool"));
        fs::write(&text, "").unwrap();
        fs::write(&tool, "").unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&text, fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir(dir.path().join("folder")).unwrap();
        let check = |name: &str| find_in(name, [Path::new("/nowhere"), dir.path()]);
        assert_eq!(check("tool"), Some(tool));
        assert_eq!(check("text"), None);
        assert_eq!(check("folder"), None);
        assert!(find("sh").is_some());
    }
}
