//! What is mounted where, as one process sees it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One line of a `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// What `mnt_id` in a `fdinfo` means.
    pub id: u32,
    /// Where it is mounted.
    pub point: PathBuf,
    /// `ext4`, `overlay`, …
    pub kind: String,
    /// What was mounted: often a path of a device.
    pub source: PathBuf,
    /// The filesystem's own options.
    options: String,
}

impl Mount {
    /// What an overlay writes into.
    pub(super) fn upper_dir(&self) -> Option<PathBuf> {
        self.options.split(',').find_map(|option| option.strip_prefix("upperdir=")).map(plain)
    }
}

/// The mounts that a process sees; `thread-self` for this one: a
/// thread may be in a mount namespace of its own.
pub(super) fn of(process: &str) -> io::Result<Vec<Mount>> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo"))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// The mount that a path is on: the one mounted last among those nearest to it.
pub(super) fn holding<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS…] - KIND SOURCE OPTIONS`.
fn parse(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ');
    let mut filesystem = filesystem.split(' ');
    Some(Mount {
        id: mount.next()?.parse().ok()?,
        point: plain(mount.nth(3)?),
        kind: filesystem.next()?.to_owned(),
        source: plain(filesystem.next()?),
        options: filesystem.next().unwrap_or_default().to_owned(),
    })
}

/// The kernel writes spaces and the like as a backslash and three octal digits.
fn plain(escaped: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_with_its_escapes_and_its_optional_fields() {
        let line = "65 61 0:39 /sub /mnt/a\\040b rw,relatime shared:1 master:2 - overlay over \
                    rw,lowerdir=/l,upperdir=/var/up\\054per,workdir=/w";
        let mount = parse(line).unwrap();
        assert_eq!((mount.id, mount.kind.as_str()), (65, "overlay"));
        assert_eq!(mount.point, Path::new("/mnt/a b"));
        assert_eq!(mount.upper_dir().unwrap(), Path::new("/var/up,per"));
        assert_eq!(parse("65 61 0:39 / /mnt rw"), None);
    }

    #[test]
    fn the_nearest_mount_holds_a_path_and_the_last_one_hides_the_others() {
        let mounts: Vec<Mount> = [
            "1 0 8:1 / / rw - ext4 /dev/a rw",
            "2 1 8:2 / /data rw - ext4 /dev/b rw",
            "3 1 8:3 / /data rw - ext4 /dev/c rw",
            "4 1 8:4 / /database rw - ext4 /dev/d rw",
        ]
        .iter()
        .filter_map(|line| parse(line))
        .collect();
        let of = |path: &str| holding(&mounts, Path::new(path)).map(|mount| mount.id);
        assert_eq!(of("/data/x"), Some(3));
        assert_eq!(of("/dat"), Some(1));
        assert_eq!(of("/database"), Some(4));
    }
}
